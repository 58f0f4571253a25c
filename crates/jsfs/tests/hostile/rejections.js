// Tries: a flood of rejections that nobody handles. Expects: 200 or 500 or 503 or 507.
export default {
  async fetch(request, env, ctx) {
    for (let i = 0; i < 50_000; i++) Promise.reject(new Error(String(i)));
    await 0;
    return new Response('done');
  },
};

// Tries: arrays nested without end made text. Expects: 200 or 500 or 503 or 507.
export default {
  async fetch(request, env, ctx) {
    let one = [];
    for (let i = 0; i < 200_000; i++) one = [one];
    String(one);
    return new Response('done');
  },
};

// Tries: an endless loop after the answer. Expects: 200 or 503.
export default {
  async fetch(request, env, ctx) {
    ctx.waitUntil((async () => { await 0; while (true); })());
    return new Response('done');
  },
};

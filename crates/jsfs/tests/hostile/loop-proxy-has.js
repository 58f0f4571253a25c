// Tries: a trap for `in` that never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    'x' in new Proxy({}, { has() { while (true); } });
    return new Response('done');
  },
};

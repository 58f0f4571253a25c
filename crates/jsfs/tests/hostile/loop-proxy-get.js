// Tries: a trap of a proxy that never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    new Proxy({}, { get() { while (true); } }).x;
    return new Response('done');
  },
};

// Tries: a trap for keys that never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    Object.keys(new Proxy({}, { ownKeys() { while (true); } }));
    return new Response('done');
  },
};

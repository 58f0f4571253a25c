// Tries: a sort of a typed array that never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    new Uint8Array([2, 1]).sort(() => { while (true); });
    return new Response('done');
  },
};

// Tries: fill of an array-like of enormous length. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    Array.prototype.fill.call({ length: 2 ** 53 - 1 }, 0);
    return new Response('done');
  },
};

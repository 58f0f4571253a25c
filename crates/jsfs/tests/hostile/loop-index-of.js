// Tries: a search in an array-like of enormous length. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);
    return new Response('done');
  },
};

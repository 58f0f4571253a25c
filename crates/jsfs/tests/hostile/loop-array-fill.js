// Tries: fill of an array-like of enormous length. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    // Nothing is kept: otherwise it depends on the machine whether time or memory ends it.
    const nothing = new Proxy({ length: 2 ** 53 - 1 }, { set: () => true });
    Array.prototype.fill.call(nothing, 0);
    return new Response('done');
  },
};

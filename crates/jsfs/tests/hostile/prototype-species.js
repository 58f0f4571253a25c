// Tries: a species that hands out something else. Expects: 200 or 500.
export default {
  async fetch(request, env, ctx) {
    Object.defineProperty(Array, Symbol.species, { get: () => function () { return new Proxy([], {}); } });
    [1, 2].map((x) => x);
    return new Response('done');
  },
};

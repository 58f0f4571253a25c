// Tries: getters that read each other. Expects: 500.
export default {
  async fetch(request, env, ctx) {
    const one = { get a() { return this.b; }, get b() { return this.a; } };
    one.a;
    return new Response('done');
  },
};

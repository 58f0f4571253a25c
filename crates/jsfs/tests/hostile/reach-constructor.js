// Tries: the boundary by the constructors of what the platform gives. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    const outer = request.constructor.constructor('return this')();
    if (outer.__host || outer.__runtime) return new Response('found', { status: 500 });
    return new Response('done');
  },
};

// Tries: join of an enormous sparse array. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    new Array(2 ** 32 - 1).join();
    return new Response('done');
  },
};

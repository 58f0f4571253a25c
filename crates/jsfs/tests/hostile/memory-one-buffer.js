// Tries: one enormous ArrayBuffer. Expects: 507 or 500 or 504.
export default {
  async fetch(request, env, ctx) {
    new ArrayBuffer(2 ** 31);
    return new Response('done');
  },
};

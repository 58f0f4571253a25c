// Tries: a body larger than a run may answer with. Expects: 507 or 500 or 503.
export default {
  async fetch(request, env, ctx) {
    return new Response('x'.repeat(2 << 20));
    return new Response('done');
  },
};

// Tries: an enormous line of the log. Expects: 200 or 504.
export default {
  async fetch(request, env, ctx) {
    console.log('x'.repeat(4 << 20));
    return new Response('done');
  },
};

// Tries: to fail with an enormous message and stack. Expects: 500 or 503.
export default {
  async fetch(request, env, ctx) {
    const error = new Error('x'.repeat(256 << 10));
    error.stack = 'y'.repeat(256 << 10);
    error.name = 'z'.repeat(256 << 10);
    throw error;
    return new Response('done');
  },
};

// Tries: an enormous header. Expects: 200 or 500 or 503 or 507 or 502.
export default {
  async fetch(request, env, ctx) {
    return new Response('', { headers: { 'x-large': 'x'.repeat(100_000) } });
    return new Response('done');
  },
};

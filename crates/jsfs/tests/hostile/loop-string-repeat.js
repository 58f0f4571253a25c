// Tries: the longest strings, again and again. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    while (true) 'x'.repeat(1 << 20);
    return new Response('done');
  },
};

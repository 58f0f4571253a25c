// Tries: evaluated code that loops. Expects: 503 or 500.
export default {
  async fetch(request, env, ctx) {
    (0, eval)('while (true);');
    return new Response('done');
  },
};

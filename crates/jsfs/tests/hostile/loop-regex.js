// Tries: exponential backtracking of a regular expression. Expects: 503 or 500.
export default {
  async fetch(request, env, ctx) {
    /^(a+)+$/.test('a'.repeat(40) + 'b');
    return new Response('done');
  },
};

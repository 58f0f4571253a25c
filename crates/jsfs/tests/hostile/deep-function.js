// Tries: recursion without end. Expects: 500.
export default {
  async fetch(request, env, ctx) {
    const down = () => down() + 1;
    down();
    return new Response('done');
  },
};

// Tries: a comparator of sort that never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    [2, 1].sort(() => { while (true); });
    return new Response('done');
  },
};

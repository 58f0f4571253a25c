// Tries: a labelled loop that continues for ever. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    outer: while (true) { while (true) continue outer; }
    return new Response('done');
  },
};

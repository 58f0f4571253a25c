// Tries: randomness that repeats from run to run. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    return new Response(crypto.randomUUID());
    return new Response('done');
  },
};

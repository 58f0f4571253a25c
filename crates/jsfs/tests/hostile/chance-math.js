// Tries: chance that repeats from run to run. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    return new Response(String(Math.random()));
    return new Response('done');
  },
};

// Tries: a toString that never returns, called by the platform. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    return new Response({ toString() { while (true); } });
    return new Response('done');
  },
};

// Tries: a getter that never returns, read by the platform. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    return new Response(null, { get status() { while (true); } });
    return new Response('done');
  },
};

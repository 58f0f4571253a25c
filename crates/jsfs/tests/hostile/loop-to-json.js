// Tries: a toJSON that never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    JSON.stringify({ toJSON() { while (true); } });
    return new Response('done');
  },
};

// Tries: JSON nested without end. Expects: 200 or 500 or 507.
export default {
  async fetch(request, env, ctx) {
    JSON.parse('['.repeat(1_000_000));
    return new Response('done');
  },
};

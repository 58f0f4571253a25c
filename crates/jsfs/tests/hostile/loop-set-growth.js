// Tries: a Set that grows while it is walked over. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    const set = new Set([0]);
    set.forEach((one) => set.add(one + 1));
    return new Response('done');
  },
};

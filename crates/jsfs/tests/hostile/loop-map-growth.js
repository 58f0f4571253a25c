// Tries: a Map that grows while it is walked over. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    const map = new Map([[0, 0]]);
    for (const [key] of map) { map.delete(key); map.set(key + 1, 0); }
    return new Response('done');
  },
};

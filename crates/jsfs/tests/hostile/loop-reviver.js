// Tries: a reviver that makes more of what it walks over. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    JSON.parse('[1]', function (key, value) { if (Array.isArray(this)) this.push([1]); for (;;); });
    return new Response('done');
  },
};

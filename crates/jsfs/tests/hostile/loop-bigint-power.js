// Tries: a power too large to compute. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    let one = 3n;
    while (true) one = one ** 7n;
    return new Response('done');
  },
};

// Tries: symbols and properties without end. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    const one = {};
    for (let i = 0; ; i++) one[Symbol(i)] = i;
    return new Response('done');
  },
};

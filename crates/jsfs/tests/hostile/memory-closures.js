// Tries: closures without end. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    let inner = () => 1;
    while (true) { const before = inner; inner = () => before; }
    return new Response('done');
  },
};

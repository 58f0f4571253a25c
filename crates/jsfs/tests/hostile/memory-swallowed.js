// Tries: to go on when memory is refused. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    const all = [];
    while (true) { try { all.push(new ArrayBuffer(1 << 20)); } catch {} }
    return new Response('done');
  },
};

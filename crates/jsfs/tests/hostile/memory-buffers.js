// Tries: ArrayBuffers without end. Expects: 507 or 500 or 504.
export default {
  async fetch(request, env, ctx) {
    const all = [];
    while (true) all.push(new ArrayBuffer(1 << 20));
    return new Response('done');
  },
};

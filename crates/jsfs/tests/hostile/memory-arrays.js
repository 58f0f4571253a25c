// Tries: arrays without end. Expects: 507 or 500 or 504.
export default {
  async fetch(request, env, ctx) {
    const all = [];
    while (true) all.push(new Array(1 << 16).fill(1));
    return new Response('done');
  },
};

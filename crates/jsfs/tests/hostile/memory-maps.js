// Tries: Maps without end. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    const map = new Map();
    for (let i = 0; ; i++) map.set({}, i);
    return new Response('done');
  },
};

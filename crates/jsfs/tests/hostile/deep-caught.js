// Tries: recursion without end, caught and begun again. Expects: 503 or 500.
export default {
  async fetch(request, env, ctx) {
    const down = () => { try { down(); } finally { down(); } };
    while (true) { try { down(); } catch {} }
    return new Response('done');
  },
};

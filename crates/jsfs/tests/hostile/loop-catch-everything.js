// Tries: to go on when the sandbox ends it. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    while (true) { try { while (true); } catch {} }
    return new Response('done');
  },
};

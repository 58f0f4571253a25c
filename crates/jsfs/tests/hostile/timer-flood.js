// Tries: to set and cancel timers without end. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    while (true) clearTimeout(setTimeout(() => {}, 1000));
    return new Response('done');
  },
};

// Tries: a callback of replace that never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    'a'.replace(/a/, () => { while (true); });
    return new Response('done');
  },
};

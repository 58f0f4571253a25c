// Tries: an endless loop. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    while (true);
    return new Response('done');
  },
};

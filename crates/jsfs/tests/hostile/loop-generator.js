// Tries: a generator that never yields. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    (function* () { while (true); })().next();
    return new Response('done');
  },
};

// Tries: a thenable whose getter never returns. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    await { get then() { while (true); } };
    return new Response('done');
  },
};

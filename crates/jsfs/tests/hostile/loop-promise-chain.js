// Tries: a chain of promises without end. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    const again = () => Promise.resolve().then(again);
    await again();
    return new Response('done');
  },
};

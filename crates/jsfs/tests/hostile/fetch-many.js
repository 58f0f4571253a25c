// Tries: a thousand requests at once. Expects: 200 or 503.
export default {
  async fetch(request, env, ctx) {
    await Promise.allSettled(Array.from({ length: 1000 }, () => fetch('/good.txt')));
    return new Response('done');
  },
};

// Tries: an endless asynchronous loop over a generator that never ends. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    async function* endless() { while (true) yield 1; }
    for await (const one of endless());
    return new Response('done');
  },
};

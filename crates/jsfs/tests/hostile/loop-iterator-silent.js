// Tries: an iterator that never ends and gives nothing to keep. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    for (const one of { [Symbol.iterator]: () => ({ next: () => ({ done: false }) }) });
    return new Response('done');
  },
};

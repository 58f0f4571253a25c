// Tries: Array.from of an iterator that never ends. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    Array.from({ [Symbol.iterator]: () => ({ next: () => ({ done: false, value: 1 }) }) });
    return new Response('done');
  },
};

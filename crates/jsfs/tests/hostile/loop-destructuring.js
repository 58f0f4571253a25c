// Tries: destructuring an iterator that never ends. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    const [...all] = { [Symbol.iterator]: () => ({ next: () => ({ done: false, value: 0 }) }) };
    return new Response('done');
  },
};

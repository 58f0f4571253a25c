// Tries: headers whose iterator never ends. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    new Headers({ [Symbol.iterator]: () => ({ next: () => ({ done: false, value: ['a', 'b'] }) }) });
    return new Response('done');
  },
};

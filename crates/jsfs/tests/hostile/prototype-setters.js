// Tries: setters on Object.prototype for what the platform sets. Expects: 200 or 500.
export default {
  async fetch(request, env, ctx) {
    for (const name of ['status', 'headers', 'body', 'ok', 'id', 'kind', 'env', 'request', 'url']) Object.defineProperty(Object.prototype, name, { set() { throw new Error(name); }, get() { return 'taken'; }, configurable: true });
    return new Response('done');
  },
};

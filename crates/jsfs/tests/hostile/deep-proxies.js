// Tries: a chain of proxies. Expects: 200 or 500 or 503 or 507.
export default {
  async fetch(request, env, ctx) {
    let one = {};
    for (let i = 0; i < 100_000; i++) one = new Proxy(one, {});
    one.x;
    return new Response('done');
  },
};

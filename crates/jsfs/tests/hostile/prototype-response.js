// Tries: to answer with something that only looks like a Response. Expects: 500.
export default {
  async fetch(request, env, ctx) {
    globalThis.Response = class { status = 200; };
    return new globalThis.Response();
    return new Response('done');
  },
};

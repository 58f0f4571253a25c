// Tries: what a former run left behind. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    if (globalThis.left !== undefined || Array.prototype.left !== undefined) return new Response('found', { status: 500 });
    globalThis.left = Array.prototype.left = 1;
    return new Response('done');
  },
};

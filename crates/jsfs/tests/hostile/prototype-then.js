// Tries: to overwrite Promise.prototype.then. Expects: 200 or 500 or 503.
export default {
  async fetch(request, env, ctx) {
    Promise.prototype.then = function () { while (true); };
    return new Response('done');
  },
};

// Tries: a very large function, made at run time. Expects: 200 or 500 or 503 or 507.
export default {
  async fetch(request, env, ctx) {
    new Function('return ' + '1+'.repeat(300_000) + '1')();
    return new Response('done');
  },
};

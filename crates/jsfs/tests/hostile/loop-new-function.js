// Tries: code made at run time that loops. Expects: 503 or 500.
export default {
  async fetch(request, env, ctx) {
    new Function('while (true);')();
    return new Response('done');
  },
};

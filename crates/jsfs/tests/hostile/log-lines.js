// Tries: lines of the log without end. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    while (true) console.log('x');
    return new Response('done');
  },
};

// Tries: a second answer hidden in a header. Expects: 500.
export default {
  async fetch(request, env, ctx) {
    return new Response('', { headers: { 'x-a': 'b\r\n\r\nHTTP/1.1 200 OK' } });
    return new Response('done');
  },
};

// Tries: headers without end. Expects: 200 or 500 or 503 or 507 or 502.
export default {
  async fetch(request, env, ctx) {
    const headers = new Headers();
    for (let i = 0; i < 20_000; i++) headers.append('x-' + i, 'y');
    return new Response('', { headers });
    return new Response('done');
  },
};

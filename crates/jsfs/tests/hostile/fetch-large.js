// Tries: request bodies larger than a run may send. Expects: 200 or 500 or 507.
export default {
  async fetch(request, env, ctx) {
    await Promise.allSettled(Array.from({ length: 20 }, () => fetch('/written.bin', { method: 'PUT', body: new Uint8Array(900_000) })));
    return new Response('done');
  },
};

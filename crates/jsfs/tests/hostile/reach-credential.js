// Tries: the credential of whoever asks. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const [name] of request.headers) if (/key|token|authorization|cookie/i.test(name)) return new Response(name, { status: 500 });
    if (/key|token/.test(JSON.stringify(ctx.caller ?? {}))) return new Response('caller', { status: 500 });
    return new Response('done');
  },
};

// Tries: to ask itself without end. Expects: 508 or 500 or 503 or 504.
export default {
  async fetch(request, env, ctx) {
    const answer = await fetch(request.url);
    return new Response(null, { status: answer.status });
    return new Response('done');
  },
};

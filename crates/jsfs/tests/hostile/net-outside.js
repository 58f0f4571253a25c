// Tries: a host outside. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['http://example.com/', 'https://example.com/', 'http://localhost@example.com/', 'http://example.com#@localhost/']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

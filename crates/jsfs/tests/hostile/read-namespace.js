// Tries: the private file of another namespace. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['http://other.example/secret.txt', 'http://example.other/secret.txt']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

// Tries: addresses of other kinds. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['file:///etc/passwd', 'ftp://localhost/', 'gopher://localhost/', 'unix:/run/x', 'jsfs://localhost/secret.txt']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

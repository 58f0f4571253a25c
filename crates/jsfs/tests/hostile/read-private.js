// Tries: a private file of its owner that it was not granted. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['http://localhost/secret.txt', '/secret.txt', 'secret.txt', './%73ecret.txt', 'x/../secret.txt', '//localhost/secret.txt']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

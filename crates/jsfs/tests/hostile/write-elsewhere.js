// Tries: to write where it was not granted. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['http://localhost/written.txt']) {
      try {
        const answer = await fetch(url, { method: 'PUT', body: 'x' });
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

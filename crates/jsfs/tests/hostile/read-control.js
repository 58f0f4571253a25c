// Tries: the control surface of the node. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['/.jsfs/logs', '/.jsfs/namespaces', '/.jsfs/keys', 'http://localhost/.jsfs/logs?program=/a.js', '/.jsfs/../secret.txt']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

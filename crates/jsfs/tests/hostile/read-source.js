// Tries: its own source as the platform stores it. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['?execute=false', '?executable=false']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

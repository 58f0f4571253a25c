// Tries: services on this machine. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['http://127.0.0.1:22/', 'http://[::1]:22/', 'http://0.0.0.0:80/', 'http://127.1/', 'http://2130706433/', 'http://0x7f.1/']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

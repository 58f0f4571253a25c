// Tries: private and link-local addresses. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const url of ['http://10.0.0.1/', 'http://192.168.0.1/', 'http://172.16.0.1/', 'http://169.254.169.254/latest/meta-data/', 'http://[fe80::1]/', 'http://[fd00::1]/', 'http://[::ffff:169.254.169.254]/']) {
      try {
        const answer = await fetch(url);
        if (answer.ok) return new Response(url + ' ' + await answer.text(), { status: 500 });
      } catch {}
    }
    return new Response('refused');
  },
};

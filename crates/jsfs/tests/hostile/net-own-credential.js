// Tries: to send a credential of its own making. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    try {
      const answer = await fetch('/secret.txt', { headers: { authorization: 'Bearer root', 'x-access-key': 'root' } });
      if (answer.ok) return new Response('read', { status: 500 });
    } catch {}
    return new Response('done');
  },
};

// Tries: a finally that loops each time it is left. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    while (true) { try { throw 1; } catch { continue; } finally { continue; } }
    return new Response('done');
  },
};

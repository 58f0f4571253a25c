// Tries: the functions of the platform by caller and arguments. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    function inner() { try { return inner.caller; } catch { return null; } }
    const found = inner();
    if (found && String(found).includes('__host')) return new Response('found', { status: 500 });
    return new Response('done');
  },
};

// Tries: to delete everything. Expects: 200 or 500.
export default {
  async fetch(request, env, ctx) {
    const { Response } = globalThis;
    for (const name of Object.getOwnPropertyNames(globalThis)) try { delete globalThis[name]; } catch {}
    return new Response('done');
    return new Response('done');
  },
};

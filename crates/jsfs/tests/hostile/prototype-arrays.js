// Tries: to overwrite the methods of arrays. Expects: 200 or 500.
export default {
  async fetch(request, env, ctx) {
    for (const name of Object.getOwnPropertyNames(Array.prototype)) try { Array.prototype[name] = () => { throw new Error(name); }; } catch {}
    return new Response('done');
  },
};

// Tries: the boundary to the worker. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    for (const name of ['__host', '__runtime', 'std', 'os', 'bjson', 'scriptArgs', 'process', 'require', 'Deno', 'Bun', 'WebAssembly']) if (name in globalThis) return new Response(name, { status: 500 });
    return new Response('done');
  },
};

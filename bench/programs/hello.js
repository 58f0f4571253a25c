// The trivial program: what it costs to run one at all.
export default { fetch: async () => new Response("Hello, world\n") };

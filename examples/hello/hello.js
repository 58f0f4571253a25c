// A program: a request for it runs it, and what it returns is the response. Each request gets a sandbox of its own.
export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const greeting = env.GREETING ?? "Hello";
    if (request.method === "POST") {
      let body;
      try {
        body = await request.json();
      } catch {
        return Response.json({ error: "send JSON, as in {\"name\":\"Ada\"}" }, { status: 400 });
      }
      return Response.json({ text: `${greeting}, ${body.name ?? "world"}!`, keys: Object.keys(body) });
    }
    console.log("greeted", url.searchParams.get("name"), "for", ctx.caller.kind);
    return Response.json({ text: `${greeting}, ${url.searchParams.get("name") ?? "world"}!`, caller: ctx.caller.kind });
  },
};

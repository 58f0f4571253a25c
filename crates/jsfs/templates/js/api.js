// Requests for /api.js run this. A fresh sandbox each: what is to last is stored below notes/, which jsfs.json grants.
export default {
  async fetch(request, env, ctx) {
    if (request.method === "POST") {
      const text = await request.text();
      await fetch("notes/last.txt", { method: "PUT", body: text, headers: { "Content-Type": "text/plain" } });
      console.log("noted", text.length, "characters");
      return Response.json({ noted: text });
    }
    const last = await fetch("notes/last.txt");
    const text = last.ok ? await last.text() : "nothing yet";
    return Response.json({ greeting: env.GREETING, caller: ctx.caller.kind, last: text });
  },
};

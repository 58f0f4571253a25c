// A chat over WebSockets. Each connection is a run of its own, in a sandbox of its own: what one says is stored as an object below
// messages/, and every connection follows the changes of that directory. So who comes later finds what was said, and a node that is
// restarted has lost nothing.
const DIRECTORY = "messages/";
const TEXT_MAX = 1_000;
const LATEST = 20;

// A connection's own: it ends what the connection follows, and a message that came both ways is told once.
const following = new AbortController();
const told = new Set();

async function tell(ws, name) {
  if (told.has(name)) return;
  told.add(name);
  const stored = await fetch(DIRECTORY + encodeURIComponent(name));
  if (stored.ok) ws.send(await stored.text());
}

async function latest(ws) {
  const listing = await fetch(`${DIRECTORY}?limit=1000`);
  if (!listing.ok) return;
  const { entries } = await listing.json();
  for (const { name } of entries.slice(-LATEST)) await tell(ws, name);
}

// Server-Sent Events: fields a line each, an empty line after each event.
async function* events(body) {
  let rest = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + piece).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) yield JSON.parse(data.map((line) => line.slice(5).trim()).join("\n"));
    }
  }
}

async function follow(ws, body) {
  try {
    for await (const event of events(body)) {
      if (event.kind === "created") await tell(ws, event.address.split("/").pop());
    }
  } catch (error) {
    if (following.signal.aborted) return;
    // The client connects again and has the rest.
    ws.close(1011, "the changes broke off");
    throw error;
  }
}

export default {
  async webSocketOpen(ws, ctx) {
    // Followed before the list is read, so that nothing falls between.
    const changes = await fetch(DIRECTORY, { headers: { Accept: "text/event-stream" }, signal: following.signal });
    if (!changes.ok) return new Response("the directory cannot be followed", { status: 503 });
    await latest(ws);
    ctx.waitUntil(follow(ws, changes.body));
    return undefined;
  },

  async webSocketMessage(ws, data) {
    if (typeof data !== "string" || data.length > TEXT_MAX) return ws.close(1009, "at most 1,000 characters");
    const { name, text } = JSON.parse(data);
    const said = JSON.stringify({ name: String(name ?? "somebody"), text: String(text ?? ""), time: new Date().toISOString() });
    // In order of time; the end keeps two of the same moment apart.
    const address = `${DIRECTORY}${Date.now()}-${crypto.randomUUID()}.json`;
    const stored = await fetch(address, { method: "PUT", headers: { "Content-Type": "application/json" }, body: said });
    if (!stored.ok) console.error("a message was not stored:", stored.status);
    return undefined;
  },

  webSocketClose() {
    following.abort();
  },

  fetch() {
    return new Response("connect with a WebSocket", { status: 426, headers: { Upgrade: "websocket" } });
  },
};

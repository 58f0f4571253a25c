// Counts in a stored object. A request has nothing of the one before, and many run at once: whoever writes says which version it has
// seen (If-Match), and who comes too late reads again. So no count is lost, and none is counted twice.
const COUNT = "data/count.txt";

async function read() {
  const stored = await fetch(COUNT);
  if (stored.status === 404) return { count: 0, condition: { "If-None-Match": "*" } };
  if (!stored.ok) throw new Error(`cannot read the count: ${stored.status}`);
  return { count: Number(await stored.text()), condition: { "If-Match": stored.headers.get("ETag") } };
}

async function add() {
  // Two requests an attempt; a run has fifty.
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const { count, condition } = await read();
    const headers = { "Content-Type": "text/plain", ...condition };
    const written = await fetch(COUNT, { method: "PUT", headers, body: String(count + 1) });
    if (written.ok) return count + 1;
    // Another was faster: 412 if it was there before us, 409 if at the same moment.
    if (written.status !== 412 && written.status !== 409) throw new Error(`cannot write the count: ${written.status}`);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * (attempt + 1)));
  }
  return undefined;
}

export default {
  async fetch(request) {
    if (request.method !== "POST") return Response.json({ count: (await read()).count });
    const count = await add();
    if (count !== undefined) return Response.json({ count });
    return Response.json({ error: "too many count at once; try again" }, { status: 503, headers: { "Retry-After": "1" } });
  },
};

// The same programs in one long-lived process of Node.js, by its own HTTP server.
import { createServer } from "node:http";

for (const [name, port] of [["hello", 7493], ["json", 7494]]) {
  const program = (await import(`./${name}.js`)).default;
  createServer(async (incoming, outgoing) => {
    const pieces = [];
    for await (const piece of incoming) pieces.push(piece);
    const body = pieces.length > 0 ? Buffer.concat(pieces) : undefined;
    const failed = () => new Response("failed", { status: 500 });
    const request = new Request("http://localhost/", { method: incoming.method, body });
    const answer = await program.fetch(request).catch(failed);
    outgoing.writeHead(answer.status, Object.fromEntries(answer.headers));
    outgoing.end(Buffer.from(await answer.arrayBuffer()));
  }).listen(port, "127.0.0.1");
}

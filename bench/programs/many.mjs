// Stores many programs, each another: node many.mjs URL KEY COUNT.
const [url, key, count] = process.argv.slice(2);
const headers = { "x-access-key": key, "content-type": "text/javascript" };
let next = 0;
const store = async () => {
  while (next < Number(count)) {
    const number = next++;
    const body = `export default { fetch: () => new Response("program ${number}") };`;
    const answer = await fetch(`${url}/many/${number}.js?executable=true`, { method: "PUT", headers, body });
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
    await answer.arrayBuffer();
  }
};
await Promise.all(Array.from({ length: 4 }, store));

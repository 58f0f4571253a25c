// What storing a program costs, and its first request beside later ones: node first.mjs URL KEY TYPE FILE [BODY]. Prints one line of a table.
// Every time it is stored as another program, because what was prepared before is not prepared again.
import { readFileSync } from "node:fs";

const ROUNDS = 7;
const WARM = 50;
const [url, key, type, file, bodyFile] = process.argv.slice(2);
const source = readFileSync(file);
const body = bodyFile && readFileSync(bodyFile);
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
const timed = async (work) => {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
};

async function ask(target) {
  const answer = await fetch(target, body ? { method: "POST", body, headers: { "content-type": "application/json" } } : {});
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${target}: ${answer.status} ${text}`);
}

// The client's own first requests are slow; they are of nothing.
for (let one = 0; one < WARM; one++) await (await fetch(`${url}/none`)).arrayBuffer();
const rounds = source.length > 8 << 20 ? 1 : ROUNDS;
const figures = { storing: [], first: [], warm: [] };
for (let round = 0; round < rounds; round++) {
  const target = `${url}/first/${round}-${Date.now()}`;
  figures.storing.push(await timed(async () => {
    const headers = { "x-access-key": key, "content-type": type };
    const answer = await fetch(`${target}?executable=true&private=false`, { method: "PUT", headers, body: source });
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
    await answer.arrayBuffer();
  }));
  figures.first.push(await timed(() => ask(target)));
  const warm = [];
  for (let one = 0; one < WARM; one++) warm.push(await timed(() => ask(target)));
  figures.warm.push(median(warm));
}
const [storing, first, warm] = [figures.storing, figures.first, figures.warm].map(median);
const cells = [`stored in ${storing.toFixed(0)} ms`, `first ${first.toFixed(2)} ms`, `warm ${warm.toFixed(2)} ms`, `ratio ${(first / warm).toFixed(2)}`];
console.log(`${file.split("/").pop().padEnd(24)} ${cells.join("  ")}`);

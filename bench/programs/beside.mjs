// How long a client waits that means well: node beside.mjs URL COUNT. Prints p50 and p99 of a file and of a program, ms, separated by spaces.
import http from "node:http";

const [url, count] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const ask = (path) =>
  new Promise((resolve, reject) => {
    const begun = performance.now();
    const request = http.get(url + path, { agent }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => {
        if (answer.statusCode !== 200 || text !== "well") reject(new Error(`${path}: ${answer.statusCode} ${text}`));
        resolve(performance.now() - begun);
      });
    });
    request.on("error", reject);
  });

const times = { "/good.txt": [], "/good.js": [] };
for (let one = 0; one < Number(count) + 20; one++) {
  for (const [path, taken] of Object.entries(times)) {
    taken.push(await ask(path));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
const figures = Object.values(times).flatMap((all) => {
  const taken = all.slice(20).sort((a, b) => a - b);
  return [taken[taken.length >> 1], taken[Math.floor(taken.length * 0.99)]];
});
console.log(figures.map((figure) => figure.toFixed(2)).join(" "));
process.exit();

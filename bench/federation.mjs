// A member that keeps nothing, beside the one that has everything, and beside nginx over HTTPS: node federation.mjs [MIB [ENTRIES]], called by bench/run
// federation. How long the first byte takes, how fast a large object comes, and how long a directory that lies elsewhere takes to be listed; each for the
// first time and again. Every body is compared.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { userInfo } from "node:os";
import { join } from "node:path";
import { end, folder, freePort, jsfs, keep, node, setting, spread, start, table, until } from "./measure.mjs";

const mib = Number(process.argv[2] ?? 256);
const ENTRIES = Number(process.argv[3] ?? 100_000);
const HOST = "bench.example";
const SMALL = 200;
const place = folder();

const listen = ["federation.listen=/ip4/127.0.0.1/tcp/0"];
const has = await node(join(place, "has"), listen);
const lacks = await node(join(place, "lacks"), listen);
const command = (own, ...args) =>
  execFileSync(jsfs, args, { encoding: "utf8", env: { ...process.env, JSFS_NODE: `http://${own.address}`, JSFS_ACCESS_KEY: own.key } });
command(has, "federation", "create", "bench", "--replicas", "1");
const ticket = command(has, "federation", "invite", "--role", "gateway").trim().split("\n").at(-1);
command(lacks, "join", ticket);
command(has, "namespace", "add", HOST, "--public");

const agents = { http: new http.Agent({ keepAlive: true, maxSockets: 64 }), https: new https.Agent({ keepAlive: true, rejectUnauthorized: false }) };

/** Asks for something: its status and body, and after how many ms the first and the last byte came. */
function ask(url, { method = "GET", body, ...headers } = {}) {
  const kind = url.startsWith("https") ? "https" : "http";
  const begun = performance.now();
  return new Promise((done, failed) => {
    const request = { http, https }[kind].request(url, { method, agent: agents[kind], headers: { host: HOST, ...headers } }, (answer) => {
      const parts = [];
      let first_ms;
      answer.on("data", (part) => {
        first_ms ??= performance.now() - begun;
        parts.push(part);
      });
      answer.on("end", () => done({ status: answer.statusCode, body: Buffer.concat(parts), first_ms, ms: performance.now() - begun }));
    });
    request.on("error", failed);
    request.end(body);
  });
}

const at = (own, path) => `http://${own.address}${path}`;

/** Writes that were answered before enough members had them. */
let later = 0;

async function put(path, body) {
  const { status } = await ask(at(has, path), { method: "PUT", body, authorization: `Bearer ${has.key}`, "x-private": "false" });
  if (status === 202) later++;
  else if (status !== 201) throw new Error(`${path} is answered with ${status}`);
}
await until(async () => (await ask(at(lacks, "/nothing"))).status === 404);

// nginx, with the same bytes.
const root = join(place, "www");
mkdirSync(root);
const port = await freePort();
const [certificate, key] = ["certificate.pem", "key.pem"].map((name) => join(place, name));
execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-out", certificate, "-keyout", key], { stdio: "ignore" });
writeFileSync(
  join(place, "nginx.conf"),
  `daemon off; ${userInfo().uid === 0 ? "user root;" : ""} pid ${place}/nginx.pid; error_log /dev/null; events {} http { access_log off; sendfile on; server {
    listen 127.0.0.1:${port} ssl; ssl_certificate ${certificate}; ssl_certificate_key ${key}; root ${root}; } }`,
);
const nginx = start("nginx", ["-e", join(place, "errors"), "-c", join(place, "nginx.conf"), "-p", place]);

const rows = [];
async function compared(what, urls, bodies, figure) {
  const figures = [];
  for (const [number, body] of bodies.entries()) {
    const answer = await ask(urls(number));
    if (answer.status !== 200 || !answer.body.equals(body)) throw new Error(`${urls(number)} is not what was stored (${answer.status})`);
    figures.push(figure(answer));
  }
  rows.push([what, spread(figures, 1), figures.length > 1 ? percentile(figures).toFixed(1) : ""]);
}
const percentile = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length * 0.99)];

const small = Array.from({ length: SMALL }, () => randomBytes(4096));
const large = [randomBytes(mib << 20)];
for (const [number, body] of small.entries()) {
  await put(`/small/${number}`, body);
  writeFileSync(join(root, `small-${number}`), body);
}
await put("/large", large[0]);
writeFileSync(join(root, "large"), large[0]);
const remote = `https://127.0.0.1:${port}`;
await until(async () => (await ask(`${remote}/small-0`)).status === 200);

const first = ({ first_ms }) => first_ms;
const rate = ({ body, ms }) => body.length / 1e3 / ms;
await compared("4 KiB through the member that has none, first byte, ms", (n) => at(lacks, `/small/${n}`), small, first);
await compared("again", (n) => at(lacks, `/small/${n}`), small, first);
await compared("of the member that has it", (n) => at(has, `/small/${n}`), small, first);
await compared("nginx, HTTPS", (n) => `${remote}/small-${n}`, small, first);
await compared(`${mib} MiB through the member that has none, MB/s`, () => at(lacks, "/large"), large, rate);
await compared("again", () => at(lacks, "/large"), large, rate);
await compared("of the member that has it", () => at(has, "/large"), large, rate);
await compared("nginx, HTTPS", () => `${remote}/large`, large, rate);

// A directory.
let next = 0;
await Promise.all(
  Array.from({ length: 64 }, async () => {
    while (next < ENTRIES) await put(`/wide/${String(next++).padStart(6, "0")}`, "x");
  }),
);
async function listed(own, what) {
  const begun = performance.now();
  let page_ms;
  const names = new Set();
  for (let after = ""; after !== undefined; ) {
    const { status, body } = await ask(at(own, `/wide/?limit=10000${after && `&after=${encodeURIComponent(after)}`}`), { accept: "application/json", authorization: `Bearer ${has.key}` });
    page_ms ??= performance.now() - begun;
    if (status !== 200) throw new Error(`the listing is answered with ${status}: ${body}`);
    const page = JSON.parse(body);
    page.entries.forEach((entry) => names.add(entry.name));
    after = page.next ?? undefined;
  }
  if (names.size !== ENTRIES) throw new Error(`${names.size} names of ${ENTRIES}`);
  rows.push([`${what}: first 10,000, ms`, page_ms.toFixed(0)], [`${what}: all, ms`, (performance.now() - begun).toFixed(0)]);
}
const wide = `${ENTRIES.toLocaleString("en")} entries`;
rows.push([`${wide}: written later than they were answered`, String(later)]);
await listed(lacks, `${wide}, through the member that has none`);
await listed(lacks, "again");
await listed(has, "of the member that has them");

keep("federation.txt", `${table(["", "median (least–most)", "p99"], rows)}\n\n${setting(["nginx", "-v"])}`);
for (const own of [nginx, has.child, lacks.child]) await end(own);

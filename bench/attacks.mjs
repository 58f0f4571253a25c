// JSFS under attack: node attacks.mjs [COUNT [KIND…]], called by bench/attacks.sh. COUNT is how often a client that means well reads and stores in each measurement.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { ask, bench, end, folder, forgetPeak, freePort, keep, memory, node, said, setting, sleep, start, table, until } from "./measure.mjs";

const [count = "1000", ...chosen] = process.argv.slice(2);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const OBJECT_BYTES = 4_096;
/** So long an attack is under way before anything is measured beside it: the node takes a while to accept what waits. */
const SETTLE_MS = 3_000;
const load = join(bench, "target/release/load");
const outside = Object.values(networkInterfaces()).flat().find((one) => one.family === "IPv4" && !one.internal)?.address;

// What attacks, with how many at once, and what shows that it has reached the node: of `came`, what became of its connections, and `seen`, the most that the node told of itself.
const tcp = (...rest) => ({ program: [join(bench, "target/release/attack")], rest });
const h2 = () => ({ program: ["node", join(bench, "attacks/http2.mjs")], secured: true, rest: [] });
const ended = (came, what) => came.ended[what] ?? 0;
const connected = ({ came, number }) => came.connected >= number / 2;
const KINDS = {
  silent: { what: "connections that say nothing", number: 18_000, ...tcp(), shows: ({ came, seen }) => came.connected > 10_000 && seen.connections > 1_000 },
  address: { what: "the same from one address", number: 2_000, ...tcp(), as: "silent", from: outside, shows: ({ came }) => ended(came, "429") > 100 },
  heads: { what: "heads of 30 KB, and then a byte at a time", number: 18_000, ...tcp(), shows: ({ came, seen }) => came.connected > 10_000 && seen.connections > 1_000 },
  unsent: { what: "short bodies, announced without authority and never sent", number: 1_000, ...tcp(), shows: ({ came }) => ended(came, "401") > 500 },
  bodies: { what: "bodies a byte at a time", number: 1_000, ...tcp(), shows: ({ came, seen }) => came.sent_bytes > 100_000_000 && seen.uploads > 10 },
  readers: { what: "readers of 128 bytes a second", number: 2_000, ...tcp(), shows: ({ came, seen }) => came.connected >= 2_000 && (seen.requests > 10 || ended(came, "503") > 1_000) },
  headers: { what: "heads that are too large", number: 64, ...tcp(), shows: ({ came }) => ended(came, "431") > 50 && ended(came, "414") > 50 },
  bombs: { what: "compressed bodies, entities, brackets, ranges", number: 32, program: ["node", join(bench, "attacks/bombs.mjs")], keyed: true, rest: [], shows: ({ came }) => ended(came, "PUT bomb-gzip: 415") > 5 },
  connections: { what: "connections that come and go", number: 64, ...tcp(), shows: ({ came }) => came.connected > 10_000 },
  requests: { what: "listings that nobody waits for", number: 256, ...tcp(), shows: ({ came }) => ended(came, "as it meant to") > 1_000 },
  compressed: { what: "answers that have to be compressed", number: 64, ...tcp(), shows: ({ came }) => ended(came, "200") > 20 },
  keys: { what: "keys that have to be stretched", number: 2_000, ...tcp(), shows: ({ came }) => ended(came, "404") > 20 },
  guesses: { what: "keys that have to be stretched, for nobody who waits", number: 256, ...tcp(), shows: ({ came }) => ended(came, "as it meant to") > 1_000 },
  hello: { what: "handshakes that are begun", number: 256, ...tcp(await hello()), secured: true, shows: ({ came }) => ended(came, "as it meant to") > 500 },
  resets: { what: "HTTP/2: requests cancelled at once", number: 32, ...h2(), shows: ({ came }) => connected({ came, number: 32 }) && came.sent_bytes > 1_000_000 },
  cancels: { what: "HTTP/2: listings cancelled", number: 16, ...h2(), shows: ({ came }) => connected({ came, number: 16 }) && came.sent_bytes > 100_000 },
  stalled: { what: "HTTP/2: bodies that do not go on", number: 64, ...h2(), shows: ({ came, seen }) => connected({ came, number: 64 }) && seen.uploads > 10 },
  windows: { what: "HTTP/2: answers of which nothing is taken", number: 64, ...h2(), shows: ({ came, seen }) => connected({ came, number: 64 }) && seen.requests > 10 },
  continuation: { what: "HTTP/2: heads without end", number: 32, ...h2(), shows: ({ came }) => connected({ came, number: 32 }) && came.sent_bytes > 1_000_000 },
  settings: { what: "HTTP/2: settings", number: 32, ...h2(), shows: ({ came }) => connected({ came, number: 32 }) && came.sent_bytes > 1_000_000 },
  pings: { what: "HTTP/2: pings", number: 32, ...h2(), shows: ({ came }) => connected({ came, number: 32 }) && came.sent_bytes > 1_000_000 },
};
const strange = chosen.filter((kind) => !KINDS[kind]);
if (strange.length > 0) throw new Error(`${strange} is none of ${Object.keys(KINDS).join(", ")}`);

/** The first bytes that a client sends over TLS, in hexadecimal. */
async function hello() {
  return await new Promise((done) => {
    const server = createServer((socket) =>
      socket.on("error", () => {}).once("data", (data) => {
        socket.destroy();
        server.close();
        done(data.toString("hex"));
      }),
    ).listen(0, "127.0.0.1", () => {
      const options = { host: "127.0.0.1", port: server.address().port, ALPNProtocols: ["h2", "http/1.1"], servername: "localhost" };
      tls.connect(options).on("error", () => {});
    });
  });
}

const place = folder();
const data = join(place, "data");
const pem = { key: join(place, "key.pem"), certificate: join(place, "certificate.pem") };
const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pem.key, "-out", pem.certificate, ...subject], { stdio: "ignore" });

/** What is attacked: a small object, a large one, a long text, a directory of many entries, a program that decompresses, and a place where everybody may store. */
async function prepare() {
  const own = await node(data);
  const open = own.headers(false);
  await ask(own.address, open, "put", 1, 1, OBJECT_BYTES, "/good/");
  await ask(own.address, open, "put", 10_000, 64, 64, "/wide/");
  await ask(own.address, open, "upload", "noise", 64, "/large", 7);
  await ask(own.address, [...open, "Content-Type: text/plain"], "upload", "text", 16, "/text", 7);
  const authorization = `Bearer ${own.key}`;
  const change = async (method, path, type, body) => {
    const headers = { authorization, "content-type": type };
    const response = await fetch(`http://${own.address}${path}`, { method, headers, body });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  };
  await change("PATCH", "/box/", "application/json", `{"create":"anyone"}`);
  const unpack = `export default { fetch: (request) => new Response(request.body.pipeThrough(new DecompressionStream("gzip"))) };`;
  await change("PUT", "/unpack?executable=true&private=false", "text/javascript", unpack);
  await end(own.child);
}

const urgent = spawnSync("chrt", ["--fifo", "1", "true"]).status === 0 ? ["chrt", "--fifo", "1"] : [];
if (urgent.length === 0) console.error("the client that measures waits for processors too: chrt is not allowed");

/** What a client that means well waits for. */
async function beside(own) {
  const env = { ...process.env, LOAD_HEADERS: own.headers(false).join("|") };
  const [command, ...args] = [...urgent, load, own.address, "beside", count, String(OBJECT_BYTES), "/good/"];
  return JSON.parse(await said(command, args, { env }));
}

const GAUGES = { connections: "jsfs_http_connections", requests: "jsfs_http_requests_running", uploads: "jsfs_http_uploads_running" };

/** The most of each gauge, looked at until it is told to stop. */
function watched(own) {
  const most = { connections: 0, requests: 0, uploads: 0 };
  let looking = true;
  const looks = (async () => {
    for (; looking; await sleep(200)) {
      const response = await fetch(`http://${own.address}/.jsfs/metrics`, { headers: { authorization: `Bearer ${own.key}` } }).catch(() => {});
      const text = response?.ok ? await response.text().catch(() => "") : "";
      for (const [name, gauge] of Object.entries(GAUGES)) {
        most[name] = Math.max(most[name], Number(text.match(new RegExp(`^${gauge} (\\d+)$`, "m"))?.[1] ?? 0));
      }
    }
  })();
  return { most, stop: () => ((looking = false), looks) };
}

/** A second node with the same in it: what the client waits for beside an attack on that one is not the fault of its own node. */
async function elsewhere(settings) {
  const [copy, port] = [folder(), await freePort()];
  cpSync(data, copy, { recursive: true });
  for (const name of ["lock", "node.url"]) rmSync(join(copy, name), { force: true });
  return { ...(await node(copy, settings.map((one) => one.replace(/^(tls.listen=.*:)\d+$/, `$1${port}`)))), port };
}

const WAITS = ["get", "new", "put"];

async function measured(kind) {
  const { what, number, program, secured, keyed, from, as = kind, rest, shows } = KINDS[kind];
  const port = await freePort();
  const settings = [`tls.listen=${from ? "0.0.0.0" : "127.0.0.1"}:${port}`, `tls.certificate=${pem.certificate}`, `tls.key=${pem.key}`, ...(process.env.SETTINGS?.split(" ") ?? [])];
  const own = await node(data, settings, from ? "0.0.0.0:0" : undefined);
  const other = process.env.ELSEWHERE ? await elsewhere(settings) : own;
  const target = `${from ?? "127.0.0.1"}:${secured ? other.port ?? port : other.address.split(":")[1]}`;
  const args = keyed ? [target, other.key, number] : [target, as, number, ...rest];
  await beside(own);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const alone = await beside(own);
    const attack = start("nice", ["-n", "19", ...program, ...args.map(String)]);
    await until(() => attack.text.includes("under way"));
    await sleep(SETTLE_MS);
    const watch = watched(other);
    forgetPeak(own.pid);
    const others = await beside(own);
    const peak_mb = memory(own.pid, "VmHWM");
    await watch.stop();
    attack.stdin.end();
    if ((await attack.ended) !== 0) throw new Error(`${kind}: the attack has failed`);
    const came = JSON.parse(attack.text.split("\n").at(-2));
    rounds.push({ alone, others, peak_mb, came, seen: watch.most });
    if (own.child.exitCode !== null) throw new Error(`${kind}: the node has ended`);
    console.error(kind, JSON.stringify(rounds.at(-1)));
    if (!shows({ came, seen: watch.most })) throw new Error(`${kind} did not take place: ${JSON.stringify([came, watch.most])}`);
    await sleep(3_000);
  }
  await end(own.child);
  if (other !== own) await end(other.child);
  return { what, number, ...summary(rounds) };
}

/** The best of each figure, because whatever else the machine does only adds; of memory and of failures the most. */
function summary(rounds) {
  const best = (of) => Math.min(...rounds.map(of));
  const waits = WAITS.map((wait) => {
    const [alone, beside] = ["alone", "others"].map((which) => ["p50_us", "p99_us"].map((figure) => best((round) => round[which][wait][figure] ?? Infinity) / 1_000));
    return { alone, beside, ratio: beside[1] / alone[1] };
  });
  const failures = {};
  for (const round of rounds) {
    for (const wait of WAITS) {
      for (const [why, times] of Object.entries(round.others[wait].failed)) failures[`${wait} ${why}`] = (failures[`${wait} ${why}`] ?? 0) + times;
    }
  }
  return { waits, failures, peak_mb: Math.max(...rounds.map((round) => round.peak_mb)), came: rounds.at(-1).came };
}

const times = ([p50, p99]) => `${p50.toFixed(2)}, ${p99.toFixed(2)}`;
const counts = (of) => Object.entries(of).map(([what, times]) => `${times.toLocaleString("en")} × ${what}`).join("; ");

await prepare();
const rows = [];
for (const kind of chosen.length > 0 ? chosen : Object.keys(KINDS)) {
  if (kind === "address" && !outside) {
    console.error("this machine has no address but loopback: what comes from one address is not measured");
    continue;
  }
  const { what, number, waits, failures, peak_mb, came } = await measured(kind);
  const reached = waits.every(({ ratio }) => ratio <= 2) && Object.keys(failures).length === 0;
  rows.push([
    `${number.toLocaleString("en")} × ${what}`,
    ...waits.map(({ alone, beside, ratio }) => `${times(alone)} → ${times(beside)} (${ratio.toFixed(1)})`),
    counts(failures) || "none",
    peak_mb.toFixed(0),
    [`${came.connected.toLocaleString("en")} connections`, counts(came.unconnected), counts(came.ended), counts(came.streams ?? {})].filter(Boolean).join("; "),
    reached ? "reached" : "**missed**",
  ]);
  console.error(rows.at(-1).join(" | "));
}
const head = ["attack", "GET: p50, p99 alone → beside, ms", "GET, new connection", "PUT", "failed", "most memory, MB", "what became of the attack", "p99 at most doubles"];
const commit = execFileSync("git", ["-C", bench, "rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
keep("attacks.txt", [`${setting()}; commit ${commit}`, "", table(head, rows)].join("\n"));
process.exit(0);

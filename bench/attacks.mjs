// JSFS under attack: node attacks.mjs [COUNT [KIND…]], called by bench/attacks.sh. COUNT is how often a client that means well reads and stores in each measurement.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { ask, bench, cpu, end, folder, forgetPeak, freePort, jsfs, keep, memory, node, said, setting, sleep, start, table, until } from "./measure.mjs";

const [count = "1000", ...chosen] = process.argv.slice(2);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const OBJECT_BYTES = 4_096;
/** So long an attack is under way before anything is measured beside it: the node takes a while to accept what waits. */
const SETTLE_MS = 3_000;
const load = join(bench, "target/release/load");
const outside = Object.values(networkInterfaces()).flat().find((one) => one.family === "IPv4" && !one.internal)?.address;

// What attacks, with how many at once, and what shows that it has reached the node: of `came`, what became of its connections, and `seen`, the most that the node told of itself.
const tcp = (...rest) => ({ program: [join(bench, "target/release/attack")], rest });
const h2 = () => ({ program: ["node", join(bench, "attacks/http2.mjs")], secured: true, streams: 100, rest: [] });
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
  bombs: { what: "compressed bodies, entities, brackets, ranges", number: 32, program: ["node", join(bench, "attacks/bombs.mjs")], keyed: true, runs: 32, rest: [], shows: ({ came }) => ended(came, "PUT bomb-gzip: 415") > 5 },
  connections: { what: "connections that come and go", number: 64, ...tcp(), shows: ({ came }) => came.connected > 10_000 },
  requests: { what: "listings that nobody waits for", number: 256, ...tcp(), shows: ({ came }) => ended(came, "as it meant to") > 1_000 },
  sockets: { what: "floods of calls, junk and pings over WebSockets", number: 256, sockets: true, ...tcp(), shows: ({ came, seen }) => connected({ came, number: 256 }) && came.sent_bytes > 1_000_000 && seen.requests > 10 },
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

// Who measures and who attacks would be on other machines: the one gets a processor at once, the others only where nobody else wants it.
const allowed = (...how) => (spawnSync("chrt", [...how, "true"]).status === 0 ? ["chrt", ...how] : []);
const [urgent, idle] = [allowed("--fifo", "1"), allowed("--idle", "0")];
if (urgent.length === 0) console.error("the client that measures waits for processors too: chrt --fifo is not allowed");
if (idle.length === 0) console.error("attackers take processors from the node: chrt --idle is not allowed");

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

/** A second node with the same in it. What the client waits for while that one is attacked is the price of a machine that does as much work, and not of sharing a node. */
async function second(settings) {
  const [copy, port] = [folder(), await freePort()];
  cpSync(data, copy, { recursive: true });
  for (const name of ["lock", "node.url"]) rmSync(join(copy, name), { force: true });
  return { ...(await node(copy, settings.map((one) => one.replace(/^(tls.listen=.*:)\d+$/, `$1${port}`)))), port };
}

const UNITS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** A function that tells a setting, in bytes where it is a size. */
function configured(settings) {
  const shown = JSON.parse(execFileSync(jsfs, ["config", "show", "--json", ...settings.flatMap((one) => ["--set", one])], { encoding: "utf8" }));
  return (key) => {
    const [, number, unit] = shown.settings.find((one) => one.key === key).value.match(/^(\d+)(\w*)$/);
    return Number(number) * (UNITS[unit] ?? 1);
  };
}

/** The MB that an attack with so many connections may have the node take beside what it took before: the table of docs/operating.md. */
function bound(setting, connections, { streams = 1, runs = 0, sockets = false }) {
  const most = (limit) => Math.min(setting(limit), connections * streams);
  const bytes =
    Math.min(setting("limits.connections"), connections) * (sockets ? 200 << 10 : (20 << 10) + 2 * setting("limits.header_bytes")) +
    Math.min(setting("limits.answer_bytes"), connections * streams * 2 ** 20) +
    most("limits.uploads") * (3 << 20) +
    most("limits.requests") * (128 << 10) +
    setting("cache.memory") +
    Math.min(64, connections) * 2 ** 20 +
    (19 << 20) +
    Math.min(setting("programs.runs"), runs) * setting("programs.memory");
  return bytes / 1e6;
}

const WAITS = ["get", "new", "put"];

/** What the client waits for while `attacked` is attacked, the most memory of that node, and what became of the attack. */
async function during(kind, own, attacked) {
  const { number, program, secured, keyed, from, as = kind, rest } = KINDS[kind];
  const target = `${from ?? "127.0.0.1"}:${secured ? attacked.port : attacked.address.split(":")[1]}`;
  const args = keyed ? [target, attacked.key, number] : [target, as, number, ...rest];
  const [command, ...words] = [...idle, ...program, ...args.map(String)];
  const attack = start(command, words);
  await until(() => attack.text.includes("under way"));
  await sleep(SETTLE_MS);
  const watch = watched(attacked);
  forgetPeak(attacked.pid);
  const used = [own, attacked].map((one) => cpu(one.pid));
  const waits = await beside(own);
  const peak_mb = memory(attacked.pid, "VmHWM");
  await watch.stop();
  attack.stdin.end();
  if ((await attack.ended) !== 0) throw new Error(`${kind}: the attack has failed`);
  if (attacked.child.exitCode !== null) throw new Error(`${kind}: the node has ended`);
  const cpu_s = cpu(attacked.pid) - used[1];
  await sleep(3_000);
  return { waits, peak_mb, cpu_s, came: JSON.parse(attack.text.split("\n").at(-2)), seen: watch.most };
}

async function measured(kind) {
  const { what, number, from, shows } = KINDS[kind];
  const port = await freePort();
  const settings = [`tls.listen=${from ? "0.0.0.0" : "127.0.0.1"}:${port}`, `tls.certificate=${pem.certificate}`, `tls.key=${pem.key}`, ...(process.env.SETTINGS?.split(" ") ?? [])];
  const own = { ...(await node(data, settings, from ? "0.0.0.0:0" : undefined)), port };
  await beside(own);
  const quiet_mb = memory(own.pid, "VmHWM");
  const bound_mb = quiet_mb + bound(configured(settings), number, KINDS[kind]);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const alone = await beside(own);
    // Before its own node is attacked, which may remember that for a while.
    const other = from ? undefined : await second(settings);
    const elsewhere = other && (await during(kind, own, other)).waits;
    if (other) await end(other.child);
    const { waits, ...attack } = await during(kind, own, own);
    rounds.push({ alone, elsewhere, others: waits, ...attack });
    console.error(kind, JSON.stringify(rounds.at(-1)));
    if (!shows(attack)) throw new Error(`${kind} did not take place: ${JSON.stringify(attack)}`);
  }
  await end(own.child);
  return { what, number, bound_mb, ...summary(rounds) };
}

/** The best of each figure, because whatever else the machine does only adds; of memory and of failures the most. */
function summary(rounds) {
  const best = (of) => Math.min(...rounds.map(of));
  const waits = WAITS.map((wait) => {
    const p99 = (which) => best((round) => round[which]?.[wait].p99_us ?? Infinity) / 1_000;
    const [alone, elsewhere, beside] = ["alone", "elsewhere", "others"].map(p99);
    return { alone, elsewhere, beside, ratio: beside / alone };
  });
  const failures = {};
  for (const round of rounds) {
    for (const wait of WAITS) {
      for (const [why, times] of Object.entries(round.others[wait].failed)) failures[`${wait} ${why}`] = (failures[`${wait} ${why}`] ?? 0) + times;
    }
  }
  return { waits, failures, peak_mb: Math.max(...rounds.map((round) => round.peak_mb)), came: rounds.at(-1).came };
}

const ms = (value) => (Number.isFinite(value) ? value.toFixed(2) : "–");
const counts = (of) => Object.entries(of).map(([what, times]) => `${times.toLocaleString("en")} × ${what}`).join("; ");
const verdict = (reached) => (reached ? "reached" : "**missed**");

await prepare();
const rows = [];
let missed = 0;
for (const kind of chosen.length > 0 ? chosen : Object.keys(KINDS)) {
  if (kind === "address" && !outside) {
    console.error("this machine has no address but loopback: what comes from one address is not measured");
    continue;
  }
  const { what, number, waits, failures, peak_mb, bound_mb, came } = await measured(kind);
  const [in_time, in_bounds] = [waits.every(({ ratio }) => ratio <= 2) && Object.keys(failures).length === 0, peak_mb <= bound_mb];
  missed += Number(!in_time) + Number(!in_bounds);
  rows.push([
    `${number.toLocaleString("en")} × ${what}`,
    ...waits.map(({ alone, elsewhere, beside, ratio }) => `${ms(alone)}, ${ms(elsewhere)}, ${ms(beside)} (${ratio.toFixed(1)})`),
    counts(failures) || "none",
    verdict(in_time),
    `${peak_mb.toFixed(0)} of ${bound_mb.toFixed(0)}`,
    verdict(in_bounds),
    [`${came.connected.toLocaleString("en")} connections`, counts(came.unconnected), counts(came.ended), counts(came.streams ?? {})].filter(Boolean).join("; "),
  ]);
  console.error(rows.at(-1).join(" | "));
}
const head = ["attack", "GET: p99 alone, beside an attack on another node, on this one, ms", "GET, new connection", "PUT", "failed", "p99 at most doubles", "most memory, MB", "within the bound", "what became of the attack"];
const commit = execFileSync("git", ["-C", bench, "rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
keep("attacks.txt", [`${setting()}; commit ${commit}; ${ROUNDS} × ${count} requests of each kind`, "", table(head, rows)].join("\n"));
process.exit(missed > 0 ? 1 : 0);

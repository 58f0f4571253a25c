// JSFS with much in it: node large.mjs [SCALE], called by bench/run large. SCALE is a percentage for a quick look. A million small objects (memory, start also
// after kill -9), one of 10 GiB that streams in, a directory of 100,000 entries, 10,000 connections that rest.
import { join } from "node:path";
import { ask, bench, end, folder, forgetPeak, hold, keep, memory, node, setting, sleep, spread, table } from "./measure.mjs";
import { execFileSync } from "node:child_process";

const scale = Number(process.argv[2] ?? 100) / 100;
const OBJECTS = Math.round(1_000_000 * scale);
const STREAM_MIB = Math.max(64, Math.round(10_240 * scale));
const ENTRIES = Math.round(100_000 * scale);
const CONNECTIONS = Math.round(10_000 * scale);
const OBJECT_BYTES = 256;
const STARTS = 5;
/** The node gives memory back 5 and 20 seconds after it began to rest. */
const SETTLE_MS = 27_000;

const data = join(folder(), "data");
const lines = [];
const tell = (name, value, target) => {
  lines.push([name, value, target]);
  console.error(`${name}: ${value} [${target}]`);
};

let own = await node(data);
await sleep(2000);
tell("resident memory of a new node that rests", `${memory(own.pid).toFixed(0)} MB`, "30 MB");

const put = await ask(own.address, own.headers(false), "put", OBJECTS, 64, OBJECT_BYTES, "/many/%/");
await ask(own.address, own.headers(false), "check", OBJECTS, OBJECT_BYTES, "/many/%/");
tell(`${OBJECTS.toLocaleString("en")} objects of ${OBJECT_BYTES} bytes put, 64 connections`, `${(put.requests / put.seconds).toFixed(0)} /s`, "");
await sleep(5000);
tell("resident memory after them", `${memory(own.pid).toFixed(0)} MB`, "150 MB");

/** From the start of the process to its first answer that holds an object's bytes. */
async function started() {
  const begun = performance.now();
  own = await node(data);
  await ask(own.address, own.headers(false), "check", 1, OBJECT_BYTES, "/many/%/");
  return performance.now() - begun;
}

const after = { end: [], kill: [] };
for (let at = 0; at < STARTS; at++) {
  await end(own.child);
  after.end.push(await started());
  // Killed while it writes; that its answers end then is no news.
  const writing = ask(own.address, own.headers(false), "put", "30s", 16, OBJECT_BYTES, `/killed-${at}/`).catch(() => {});
  await sleep(1500);
  await end(own.child, "SIGKILL");
  await writing;
  after.kill.push(await started());
}
tell("ready after a start in good order", `${spread(after.end)} ms`, "300 ms");
tell("ready after kill -9 while it wrote", `${spread(after.kill)} ms`, "1,000 ms");
await sleep(5000);
tell("resident memory after a start", `${memory(own.pid).toFixed(0)} MB`, "150 MB");

forgetPeak(own.pid);
const stream = await ask(own.address, own.headers(true), "upload", "noise", STREAM_MIB, "/stream", 3);
tell(`${STREAM_MIB} MiB streamed into one object: most memory`, `${memory(own.pid, "VmHWM").toFixed(0)} MB, at ${(stream.bytes / 1e6 / stream.seconds).toFixed(0)} MB/s`, "150 MB");
await ask(own.address, own.headers(true).slice(0, 1), "compare", "noise", STREAM_MIB, "/stream", 3);

const get = async (path) => {
  const begun = performance.now();
  const response = await fetch(`http://${own.address}${path}`, { headers: { authorization: `Bearer ${own.key}`, accept: "application/json" } });
  return { body: await response.json(), ms: performance.now() - begun };
};
const addingTakes = async (prefix) => (await ask(own.address, own.headers(false), "put", 200, 1, OBJECT_BYTES, prefix)).p50_us / 1000;
const toEmpty = await addingTakes("/empty/new-");
await ask(own.address, own.headers(false), "put", ENTRIES, 64, OBJECT_BYTES, "/wide/");
const first = [];
for (let at = 0; at < 20; at++) first.push((await get("/wide/")).ms);
tell(`directory of ${ENTRIES.toLocaleString("en")} entries: first page`, `${spread(first, 1)} ms`, "10 ms");
const begun = performance.now();
const names = new Set();
for (let after = ""; after !== undefined; ) {
  const { body } = await get(`/wide/?limit=10000${after && `&after=${encodeURIComponent(after)}`}`);
  body.entries.forEach((entry) => names.add(entry.name));
  after = body.next ?? undefined;
}
if (names.size !== ENTRIES) throw new Error(`${names.size} entries were listed of ${ENTRIES}`);
tell("  whole, in pages", `${((performance.now() - begun) / 1000).toFixed(2)} s`, "1 s");
const toWide = await addingTakes("/wide/new-");
tell("  adding one (median of 200, synced)", `${toWide.toFixed(2)} ms; to an empty one ${toEmpty.toFixed(2)} ms`, "the same");

// On a node that has done nothing else, and as a difference between few and many: what it takes and gives back besides is in both.
await end(own.child);
own = await node(data);
const few = await hold(own.address, own.headers(false).slice(0, 1), Math.ceil(CONNECTIONS / 10), "/many/0/0");
await sleep(SETTLE_MS);
const withFew = memory(own.pid);
const others = await hold(own.address, own.headers(false).slice(0, 1), CONNECTIONS - few.connections, "/many/0/0");
await sleep(SETTLE_MS);
const each = ((memory(own.pid) - withFew) * 1e6) / others.connections / 1000;
tell(`${CONNECTIONS.toLocaleString("en")} connections that rest: memory of each`, `${each.toFixed(1)} KB`, "20 KB");
await Promise.all([few.letGo(), others.letGo()]);
await end(own.child);

const commit = execFileSync("git", ["-C", bench, "rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
keep("large.txt", [`${setting()}; commit ${commit}`, "", table(["what", "figure", "target"], lines)].join("\n"));
process.exit(0);

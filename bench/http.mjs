// JSFS beside nginx (static files, WebDAV) and rclone's WebDAV server on the same work: node http.mjs SECONDS ROUNDS, called by bench/run http.
// Every object that is read was compared before, and a hundred of those that each round has written are after it.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import {
  ask, bench, cpu, end, folder, freePort, keep, memory, median, node, said, setting, spread, start, table, until,
} from "./measure.mjs";

const seconds = Number(process.argv[2] ?? 5);
const rounds = Number(process.argv[3] ?? 5);
const SMALL_BYTES = 4096;
const SMALL_COUNT = 1000;
const LARGE_MIB = 256;

/** Makes a collection as a client of WebDAV does. */
const collection = (address) => async (name) => {
  const { status } = await fetch(`http://${address}/${name}/`, { method: "MKCOL" });
  if (status !== 201) throw new Error(`${address} answers ${status} to MKCOL`);
};

async function nginx(work) {
  const port = await freePort();
  for (const name of ["files", "temporary"]) mkdirSync(join(work, name), { recursive: true });
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${work}/temporary/${of};`);
  // Debian's settings, without a log, which would cost it something.
  const config = `
    daemon off; pid ${work}/pid; error_log ${work}/errors; worker_processes auto;
    ${userInfo().uid === 0 ? "user root;" : ""}
    events { worker_connections 768; }
    http {
      access_log off; sendfile on; tcp_nopush on; types_hash_max_size 2048; client_max_body_size 0; ${temporary.join(" ")}
      server { listen 127.0.0.1:${port}; root ${work}/files; location / { dav_methods PUT DELETE MKCOL; } }
    }`;
  writeFileSync(join(work, "config"), config);
  const child = start("nginx", ["-e", join(work, "errors"), "-c", join(work, "config")]);
  return { child, address: `127.0.0.1:${port}`, make: collection(`127.0.0.1:${port}`) };
}

async function rclone(work) {
  const port = await freePort();
  mkdirSync(join(work, "files"), { recursive: true });
  const args = ["serve", "webdav", join(work, "files"), "--addr", `127.0.0.1:${port}`, "--config", join(work, "config"), "--log-level", "ERROR"];
  const child = start("rclone", args);
  return { child, address: `127.0.0.1:${port}`, make: collection(`127.0.0.1:${port}`) };
}

async function ours(work) {
  const { child, address, headers } = await node(work);
  return { child, address, headers, make: async () => {} };
}

/** Everything that runs on one file system. `names` of its servers to what is asked of them. */
async function servers(place) {
  const started = { jsfs: await ours(join(place, "jsfs")), nginx: await nginx(join(place, "nginx")), rclone: await rclone(join(place, "rclone")) };
  for (const server of Object.values(started)) await until(() => fetch(`http://${server.address}/`).then(() => true));
  const variant = (name, server, is_private) => ({
    ...started[server], name, server, headers: started[server].headers?.(is_private) ?? [], under: is_private ? "private" : "public",
  });
  return {
    started,
    variants: [
      variant("JSFS, public", "jsfs", false), variant("JSFS, private", "jsfs", true), variant("nginx", "nginx", false),
      variant("rclone", "rclone", false),
    ],
  };
}

const place = folder();
const disk = await servers(place);
const memoryPlace = existsSync("/dev/shm") ? await servers(folder("/dev/shm")) : undefined;

// What is read.
for (const variant of disk.variants) {
  const { address, headers, under } = variant;
  await variant.make(under);
  await ask(address, headers, "put", SMALL_COUNT, 8, SMALL_BYTES, `/${under}/small-`);
  await ask(address, headers, "check", SMALL_COUNT, SMALL_BYTES, `/${under}/small-`);
  for (const mib of [1, LARGE_MIB]) {
    await ask(address, headers, "upload", "noise", mib, `/${under}/noise-${mib}`, 1);
    await ask(address, headers, "compare", "noise", mib, `/${under}/noise-${mib}`, 1);
  }
}

async function getSmall({ address, headers, under }, round) {
  const time = round < 0 ? 0.5 : seconds;
  const args = ["-t1", "-c64", `-d${Math.max(1, Math.round(time))}s`, "--latency", "-s", join(bench, "http/paths.lua")];
  const env = { ...process.env, PATHS: `/${under}/small-`, COUNT: String(SMALL_COUNT), HEADERS: headers.slice(0, 1).join("|") };
  const text = await said("wrk", [...args, `http://${address}`], { env });
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(text);
  const [, amount, unit] = text.match(/99%\s+([\d.]+)(us|ms|s)/);
  const requests = Number(text.match(/(\d+) requests in/)[1]);
  return { rate: Number(text.match(/Requests\/sec:\s+([\d.]+)/)[1]), p99_ms: Number(amount) * { us: 0.001, ms: 1, s: 1000 }[unit], requests };
}

const rateOf = ({ requests, seconds, p99_us, bytes }) => ({ requests, rate: requests / seconds, p99_ms: p99_us / 1000, mb: bytes / 1e6 });
const throughput = (figures) => ({ ...rateOf(figures), rate: figures.bytes / 1e6 / figures.seconds });
const timed = (round) => `${round < 0 ? 0.5 : seconds}s`;

const getLarge = (mib, connections) => async ({ address, headers, under }, round) =>
  throughput(await ask(address, headers.slice(0, 1), "get", timed(round), connections, `/${under}/noise-${mib}`));

const putSmall = (connections) => async ({ address, headers, under, make }, round) => {
  const directory = `${under}-${connections}-${round}`;
  await make(directory);
  const figures = rateOf(await ask(address, headers, "put", timed(round), connections, SMALL_BYTES, `/${directory}/`));
  figures.check = () => ask(address, headers, "check", figures.requests, SMALL_BYTES, `/${directory}/`);
  return figures;
};

const putLarge = (kind, name, seed) => async ({ address, headers, under }, round) => {
  const [path, mib] = [`/${under}/${name}-${round}`, round < 0 ? 16 : LARGE_MIB];
  const figures = throughput(await ask(address, headers, "upload", kind, mib, path, seed(round)));
  figures.check = () => ask(address, headers, "compare", kind, mib, path, seed(round));
  return figures;
};

const per = { request: ["requests/s", 0, "CPU µs each", (cpu, { requests }) => (cpu * 1e6) / requests], mb: ["MB/s", 0, "CPU ms per MB", (cpu, { mb }) => (cpu * 1e3) / mb] };
const works = [
  ["GET 4 KiB, 64 connections", per.request, disk, getSmall],
  ["GET 1 MiB, 16 connections", per.mb, disk, getLarge(1, 16)],
  [`GET ${LARGE_MIB} MiB, 4 connections`, per.mb, disk, getLarge(LARGE_MIB, 4)],
  ["PUT 4 KiB, 16 connections, disk", per.request, disk, putSmall(16)],
  ["PUT 4 KiB, 64 connections, disk", per.request, disk, putSmall(64)],
  ["PUT 4 KiB, 16 connections, tmpfs", per.request, memoryPlace, putSmall(16)],
  ["PUT 4 KiB, 64 connections, tmpfs", per.request, memoryPlace, putSmall(64)],
  [`PUT ${LARGE_MIB} MiB, incompressible`, per.mb, disk, putLarge("noise", "fresh", (round) => 100 + round)],
  [`PUT ${LARGE_MIB} MiB, text`, per.mb, disk, putLarge("text", "text", (round) => 200 + round)],
  [`PUT ${LARGE_MIB} MiB, already stored`, per.mb, disk, putLarge("noise", "again", () => 1)],
].filter(([name, , on]) => on && name.includes(process.env.WORK ?? ""));

async function taken(variant, work, round) {
  const before = cpu(variant.child.pid);
  const figures = await work(variant, round);
  figures.cpu = cpu(variant.child.pid) - before;
  await figures.check?.();
  return figures;
}

const lines = [];
for (const [name, [unit, digits, costs, cost], { variants }, work] of works) {
  const all = variants.map(() => []);
  for (const variant of variants) await taken(variant, work, -1);
  for (let round = 0; round < rounds; round++) {
    // Each begins once, so that none has the machine always as the same one left it.
    for (let turn = 0; turn < variants.length; turn++) {
      const at = (turn + round) % variants.length;
      all[at].push(await taken(variants[at], work, round));
    }
  }
  const peer = all[variants.findIndex((variant) => variant.server === "nginx")];
  variants.forEach((variant, at) => {
    const of = (figure) => all[at].map(figure);
    const ratios = all[at].map((figures, round) => figures.rate / peer[round].rate);
    const cells = [spread(of((figures) => figures.rate), digits), at === all.indexOf(peer) ? "1" : spread(ratios, 2)];
    const share = median(all[at].map((figures) => cost(figures.cpu, figures))) / median(peer.map((figures) => cost(figures.cpu, figures)));
    const cost_each = `${spread(of((figures) => cost(figures.cpu, figures)), unit === "MB/s" ? 2 : 0)} = ${share.toFixed(2)} ×`;
    const p99 = spread(of((figures) => figures.p99_ms), 1);
    lines.push([at === 0 ? `${name}: ${unit}` : "", variant.name, ...cells, unit === "MB/s" ? "" : p99, cost_each]);
  });
  console.error(`${name}: ${variants.map((variant, at) => `${variant.name} ${spread(all[at].map((figures) => figures.rate), digits)}`).join(", ")}`);
}

const peaks = Object.entries(disk.started).map(([name, { child }]) => `${name} ${memory(child.pid, "VmHWM").toFixed(0)} MB`);
const head = ["work", "server", "rate", "ratio to nginx", "p99 ms", "server CPU (each, per MB)"];
const commit = execFileSync("git", ["-C", bench, "rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
keep(
  "http.txt",
  [
    `${rounds} rounds of ${seconds} s, in turn: median (least–most). ${setting(["nginx", "-v"], ["rclone", "version"], ["wrk", "-v"])}; commit ${commit}`,
    "",
    table(head, lines),
    "",
    `Most memory over all of it (disk): ${peaks.join(", ")}.`,
  ].join("\n"),
);
for (const { started } of [disk, memoryPlace].filter(Boolean)) for (const { child } of Object.values(started)) await end(child);
process.exit(0);

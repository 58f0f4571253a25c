// What the scripts here share: programs that are started and ended, what they use, figures over several rounds, tables.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const bench = dirname(fileURLToPath(import.meta.url));
export const jsfs = process.env.JSFS ?? join(bench, "../target/release/jsfs");
const load = join(bench, "target/release/load");

const running = new Set();
const folders = [];
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** A folder that goes with this process. */
export function folder(within = tmpdir()) {
  const made = mkdtempSync(join(within, "bench-"));
  folders.push(made);
  return made;
}

export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], ...options });
  running.add(child);
  child.ended = new Promise((done) =>
    child.on("exit", (code, signal) => {
      running.delete(child);
      done(signal ?? code);
    }),
  );
  child.text = "";
  child.stdout?.on("data", (data) => (child.text += data));
  return child;
}

export async function end(child, signal = "SIGTERM") {
  child.kill(signal);
  await child.ended;
}

/** What a program prints; its failure is ours. */
export async function said(command, args, options = {}) {
  const child = start(command, args, options);
  child.stdin.end();
  const code = await child.ended;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}`);
  return child.text;
}

/** Waits until there is an answer to `ask`, which may throw. */
export async function until(ask, every_ms = 50, limit_ms = 60_000) {
  const begun = Date.now();
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      if (Date.now() - begun > limit_ms) throw error;
    }
    if (Date.now() - begun > limit_ms) throw new Error("it did not come to be in time");
    await sleep(every_ms);
  }
}

export const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

/** A process and those below it. */
function tree(pid) {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [[Number(name), Number(stat(name)[1])]];
      } catch {
        return [];
      }
    });
  const all = [pid];
  for (const one of all) all.push(...parents.filter(([, parent]) => parent === one).map(([child]) => child));
  return all;
}

/** The fields of /proc/PID/stat after the name. */
const stat = (pid) => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ");

const ticks = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** Seconds of processor time that a process and those below it have used. */
export const cpu = (pid) => tree(pid).reduce((sum, one) => sum + (Number(stat(one)[11]) + Number(stat(one)[12])) / ticks, 0);

/** MB of memory that they hold (VmRSS) or have held at most (VmHWM). */
export function memory(pid, field = "VmRSS") {
  const of = (one) => Number(readFileSync(`/proc/${one}/status`, "utf8").match(new RegExp(`${field}:\\s+(\\d+)`))?.[1] ?? 0);
  return tree(pid).reduce((sum, one) => sum + of(one), 0) * 1024 / 1e6;
}

/** Begins to look for the most memory anew. */
export const forgetPeak = (pid) => tree(pid).forEach((one) => writeFileSync(`/proc/${one}/clear_refs`, "5"));

/** A node on a data directory: its address, its process, and headers of a request that may do everything. */
export async function node(data, settings = [], listen = "127.0.0.1:0") {
  mkdirSync(data, { recursive: true });
  const set = ["log.level=error", ...settings].flatMap((one) => ["--set", one]);
  const begun = performance.now();
  const child = start(jsfs, ["serve", "--data", data, "--listen", listen, ...set]);
  const address = await until(() => child.text.match(/http:\/\/(127[0-9.]*:\d+)/)?.[1], 1);
  const ready_ms = performance.now() - begun;
  const key = readFileSync(join(data, "root.key"), "utf8").trim();
  const headers = (is_private) => [`Authorization: Bearer ${key}`, `X-Private: ${is_private}`, "Prefer: return=minimal"];
  return { child, pid: child.pid, address, ready_ms, key, headers };
}

/** What load.rs prints. */
export async function ask(address, headers, ...args) {
  const env = { ...process.env, LOAD_HEADERS: headers.join("|") };
  const text = await said(load, [address, ...args.map(String)], { env });
  return text ? JSON.parse(text) : undefined;
}

/** Holds connections until they are let go. */
export async function hold(address, headers, count, path) {
  const env = { ...process.env, LOAD_HEADERS: headers.join("|") };
  const child = start(load, [address, "idle", String(count), path], { env });
  await until(() => child.text.includes("\n"));
  return { connections: JSON.parse(child.text).connections, letGo: () => (child.stdin.end(), child.ended) };
}

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

/** The median, and the least and the most where there are several. */
export function spread(values, digits = 0) {
  const text = (value) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const [least, most] = [Math.min(...values), Math.max(...values)].map(text);
  return values.length > 1 && least !== most ? `${text(median(values))} (${least}–${most})` : text(median(values));
}

/** A table in Markdown. */
export function table(head, rows) {
  const widths = head.map((_, at) => Math.max(...[head, ...rows].map((cells) => String(cells[at] ?? "").length)));
  const line = (cells) => `| ${widths.map((width, at) => String(cells[at] ?? "").padEnd(width)).join(" | ")} |`;
  return [line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...rows.map(line)].join("\n");
}

/** Bytes below a folder, as files are long. */
export function bytesIn(place) {
  return readdirSync(place, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0);
}

const version = (command, ...args) => {
  try {
    return execFileSync("sh", ["-c", `"$@" 2>&1 | head -1`, "sh", command, ...args], { encoding: "utf8" }).trim();
  } catch {
    return `${command} is not there`;
  }
};

/** What the figures were taken with. */
export function setting(...programs) {
  const disk = execFileSync("findmnt", ["-n", "-o", "FSTYPE", "-T", tmpdir()], { encoding: "utf8" }).trim();
  const machine = `${cpus().length} × ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, ${disk}`;
  const names = [[jsfs, "--version"], ...programs].map((program) => version(...program));
  return `${machine}; ${names.join("; ")}; ${new Date().toISOString().slice(0, 10)}`;
}

/** Prints a text and keeps it in bench/results/. */
export function keep(name, text) {
  console.log(text);
  mkdirSync(join(bench, "results"), { recursive: true });
  writeFileSync(join(bench, "results", name), `${text}\n`);
}

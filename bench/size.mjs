// What releases of several kinds take when they are stored one after the other in JSFS, restic and borg, and what that costs: node size.mjs [KIND…],
// called by bench/run size. Each release is read back from JSFS and compared.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bench, bytesIn, cpu, end, folder, jsfs, keep, node, said, setting, table } from "./measure.mjs";

const corpora = join(bench, "target/corpora");
const only = process.argv.slice(2);
const kinds = ["django", "numpy", "binary", "small", "random"].filter((kind) => only.length === 0 || only.includes(kind));
const MB = 1e6;

/** Seconds of processor time of a program that ends. */
async function costs(command, args, options) {
  const script = 'TIMEFORMAT="%U %S"; { time "$@" >"$0" 2>&1; } 2>&1';
  const log = join(folder(), "said");
  const text = await said("bash", ["-c", script, log, command, ...args], options);
  const [user, system] = text.trim().split(" ").map(Number);
  return user + system;
}

async function inJsfs(releases, is_private) {
  const place = folder();
  const data = join(place, "data");
  const own = await node(data);
  const env = { ...process.env, JSFS_NODE: `http://${own.address}`, JSFS_ACCESS_KEY: own.key };
  const seconds = [];
  for (const [at, release] of releases.entries()) {
    const before = cpu(own.pid);
    await said(jsfs, ["sync", release, `/localhost/releases/${at}/`, is_private ? "--private" : "--public"], { env });
    seconds.push(cpu(own.pid) - before);
    const back = folder();
    await said(jsfs, ["sync", `/localhost/releases/${at}/`, back], { env });
    await said("diff", ["-r", release, back]);
  }
  await end(own.child);
  return { stored: bytesIn(join(data, "packs")), index: bytesIn(join(data, "index")), seconds };
}

async function inRestic(releases) {
  const repository = join(folder(), "repository");
  const env = { ...process.env, RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: "of a benchmark", RESTIC_CACHE_DIR: folder() };
  await said("restic", ["init"], { env });
  const seconds = [];
  for (const release of releases) seconds.push(await costs("restic", ["backup", "--compression", "max", "."], { env, cwd: release }));
  return { stored: bytesIn(repository), seconds };
}

async function inBorg(releases) {
  const repository = join(folder(), "repository");
  const env = { ...process.env, BORG_REPO: repository, BORG_BASE_DIR: folder(), BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: "yes" };
  await said("borg", ["init", "--encryption", "none"], { env });
  const seconds = [];
  for (const [at, release] of releases.entries()) {
    seconds.push(await costs("borg", ["create", "--compression", "zstd,10", `::${at}`, "."], { env, cwd: release }));
  }
  return { stored: bytesIn(repository), seconds };
}

const sizes = [];
const speeds = [];
const all = { logical: 0, public: 0, private: 0, restic: 0, borg: 0 };
for (const kind of kinds) {
  const place = join(corpora, kind);
  if (!existsSync(place)) throw new Error(`${place} is not there: bench/corpora.sh fetches it`);
  const releases = readdirSync(place).sort((a, b) => a - b).map((name) => join(place, name));
  const bytes = releases.map(bytesIn);
  const logical = bytes.reduce((sum, one) => sum + one);
  const results = {
    public: await inJsfs(releases, false), private: await inJsfs(releases, true), restic: await inRestic(releases), borg: await inBorg(releases),
  };
  const share = (name) => (results[name].stored / logical).toFixed(4);
  const best = Math.min(results.restic.stored, results.borg.stored);
  const ratio = (name) => (results[name].stored / best).toFixed(2);
  const index = (results.public.index / logical).toFixed(4);
  const files = releases.reduce((sum, release) => sum + readdirSync(release, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length, 0);
  sizes.push([
    kind, releases.length, files, (logical / MB).toFixed(0), share("public"), share("private"), index, share("restic"), share("borg"), ratio("public"),
    ratio("private"),
  ]);
  const speed = (name, from, to) => {
    const [moved, spent] = [bytes, results[name].seconds].map((list) => list.slice(from, to).reduce((sum, one) => sum + one, 0));
    return to > from ? (moved / MB / spent).toFixed(0) : "";
  };
  const names = ["public", "private", "restic", "borg"];
  speeds.push([kind, ...names.map((name) => speed(name, 0, 1)), ...names.map((name) => speed(name, 1, releases.length))]);
  for (const name of names) all[name] += results[name].stored;
  all.logical += logical;
  console.error(`${kind}: ${names.map((name) => `${name} ${share(name)}`).join(", ")}`);
}

const best = Math.min(all.restic, all.borg);
const of = (name) => (all[name] / all.logical).toFixed(4);
const total = ["all", "", "", (all.logical / MB).toFixed(0), of("public"), of("private"), "", of("restic"), of("borg"), (all.public / best).toFixed(2), (all.private / best).toFixed(2)];
if (kinds.length > 1) sizes.push(total);
keep(
  "size.txt",
  [
    setting(["restic", "version"], ["borg", "--version"]),
    "",
    "Bytes stored for each byte put (JSFS: packs; its index, which can be built again from them, beside it).",
    "",
    table(["kind", "releases", "files", "MB", "JSFS, public", "JSFS, private", "its index", "restic max", "borg zstd,10", "public to the better", "private to the better"], sizes),
    "",
    "MB for each second of processor time: the node's, and all of restic's and borg's.",
    "",
    table(["kind", ...["first release: JSFS, public", "JSFS, private", "restic", "borg"], ...["later ones: JSFS, public", "JSFS, private", "restic", "borg"]], speeds),
  ].join("\n"),
);
process.exit(0);

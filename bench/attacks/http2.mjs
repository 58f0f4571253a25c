// Clients of HTTP/2 that mean ill: node http2.mjs ADDRESS KIND NUMBER, so many connections at a time, each again as soon as it is over, until its input ends.
//
//   resets        ask and cancel in the same breath, all the time
//   cancels       ask for /wide/, which has many entries, and cancel when that is being worked on
//   stalled       begin as many bodies as there may be, to /box/, and never go on
//   windows       ask for /large as often as may be and allow no byte of it
//   continuation  send heads that never end
//   settings      change settings all the time
//   pings         ask all the time whether anybody is there
import tls from "node:tls";
import { count, tally, underWay } from "./tally.mjs";

const [address, kind, number] = process.argv.slice(2);
const [host, port] = address.split(":");
const STREAMS = 100;
const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION] = [0, 1, 3, 4, 6, 7, 9];
const [END_STREAM, ACK, END_HEADERS] = [1, 1, 4];
const NAMES = { [RST_STREAM]: "reset by the node", [HEADERS]: "answered" };

function frame(type, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

// A head in HPACK, from the static table: method, scheme, path and authority.
function head(method, path) {
  const literal = (index, text) => [Buffer.from([index, text.length]), Buffer.from(text)];
  return Buffer.concat([Buffer.from([method === "GET" ? 0x82 : 0x83, 0x87]), ...literal(4, path), ...literal(1, "localhost")]);
}

const setting = (id, value) => {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(id, 0);
  payload.writeUInt32BE(value, 2);
  return payload;
};
const cancel = Buffer.from([0, 0, 0, 8]);
const get = (stream, path) => frame(HEADERS, END_STREAM | END_HEADERS, stream, head("GET", path));
const preface = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0, setting(4, kind === "windows" ? 0 : 65_535))]);
const repeated = (piece) => Buffer.concat(Array(Math.ceil(65_536 / piece.length)).fill(piece));
const FLOODS = {
  continuation: repeated(frame(CONTINUATION, 0, 1, Buffer.concat([Buffer.from([0, 1, 120, 100]), Buffer.alloc(100, 120)]))),
  settings: repeated(frame(SETTINGS, 0, 0, setting(1, 4_096))),
  pings: repeated(frame(PING, 0, 0, Buffer.alloc(8))),
};

/** What a connection sends, piece after piece, as fast as it is taken. */
function* pieces(connection) {
  let next = 1;
  const streams = (of) => Buffer.concat(Array.from({ length: STREAMS }, () => of((next += 2))));
  switch (kind) {
    case "resets":
      for (;;) yield streams((stream) => Buffer.concat([get(stream, "/good/0"), frame(RST_STREAM, 0, stream, cancel)]));
    case "cancels":
      for (;;) {
        const first = next + 2;
        yield streams((stream) => get(stream, "/wide/?limit=10000"));
        yield 5;
        next = first - 2;
        yield streams((stream) => frame(RST_STREAM, 0, stream, cancel));
      }
    case "stalled":
    case "windows":
      for (;;) {
        // As many as have ended, so that there are always as many as there may be.
        for (; connection.open < STREAMS; connection.open++) {
          next += 2;
          yield kind === "windows"
            ? get(next, "/large")
            : Buffer.concat([frame(HEADERS, END_HEADERS, next, head("POST", `/box/${process.pid}-${tally.connected}-${next}`)), frame(DATA, 0, next, Buffer.alloc(4_096))]);
        }
        yield 100;
      }
    default:
      if (kind === "continuation") yield frame(HEADERS, 0, 1, head("GET", "/"));
      for (;;) yield FLOODS[kind];
  }
}

/** Reads frames as far as they matter here. */
function reader(connection, socket) {
  let held = Buffer.alloc(0);
  return (data) => {
    held = held.length > 0 ? Buffer.concat([held, data]) : data;
    while (held.length >= 9) {
      const length = held.readUIntBE(0, 3);
      if (held.length < 9 + length) return;
      const [type, flags, stream] = [held[3], held[4], held.readUInt32BE(5)];
      if (type === PING && !(flags & ACK) && kind !== "pings") socket.write(frame(PING, ACK, 0, held.subarray(9, 17)));
      if (type === GOAWAY) connection.why = `told to go (${held.readUInt32BE(13)})`;
      if (NAMES[type]) count(tally.streams, NAMES[type]);
      if (type === RST_STREAM || (stream > 0 && flags & END_STREAM && type <= HEADERS)) connection.open--;
      held = held.subarray(9 + length);
    }
  };
}

const connect = (one) =>
  new Promise((over) => {
    const connection = { open: 0, why: undefined };
    const localAddress = host.startsWith("127.") ? `127.0.0.${2 + (one % 200)}` : undefined;
    const socket = tls.connect({ host, port, localAddress, ALPNProtocols: ["h2"], rejectUnauthorized: false, servername: "localhost" });
    let sending;
    socket.on("secureConnect", () => {
      tally.connected++;
      sending = pieces(connection);
      socket.write(preface);
      go();
    });
    const go = () => {
      while (!socket.destroyed) {
        const piece = sending.next().value;
        if (typeof piece === "number") return setTimeout(go, piece);
        tally.sent_bytes += piece.length;
        if (!socket.write(piece)) return socket.once("drain", go);
      }
    };
    socket.on("data", reader(connection, socket));
    socket.on("error", (error) => (connection.why ??= error.code ?? error.message));
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      if (sending) count(tally.ended, connection.why ?? "closed by the node");
      else count(tally.unconnected, connection.why ?? "closed by the node");
      over();
    });
  });

const again = async (one) => {
  for (;;) await connect(one);
};
for (let one = 0; one < Number(number); one++) again(one);
setTimeout(underWay, 2_000);

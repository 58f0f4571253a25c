// What nodes say to each other (docs/protocols), written and read from the pages alone.

import { concat, hex, unhex, utf8 } from './bytes.mjs';
import * as cbor from './cbor.mjs';
import { blake3, verify } from './primitives.mjs';

const must = (holds, what) => {
  if (!holds) throw new Error(what);
};

export function frameHead(length) {
  const bytes = [];
  for (let rest = length; ; rest >>>= 7) {
    bytes.push(rest >= 0x80 ? (rest & 0x7f) | 0x80 : rest);
    if (rest < 0x80) return Uint8Array.from(bytes);
  }
}

export const mark = (item) => blake3(utf8('jsfs/v1/roster-item'), item).subarray(0, 8);

export function digest(items) {
  const marks = items.map((item) => hex(mark(item))).sort();
  return blake3(utf8('jsfs/v1/roster'), ...marks.map(unhex));
}

const nested = (text) => text && cbor.decode(unhex(text));
const cut = (bytes, width) => Array.from({ length: bytes.length / width }, (_, at) => bytes.subarray(at * width, (at + 1) * width));
const joined = (texts) => concat(new Uint8Array(0), ...texts.map(unhex));

// The bytes that stand for what a vector says. What is signed cannot be made again: its signature is taken from `bytes`.
export function writeItem(value, bytes) {
  const [, body] = cbor.decode(bytes);
  const signed = (fields) => [cbor.encode(new Map(fields.map((field, at) => [at + 1, field]))), body[1]];
  const bodies = {
    member: () => [1, nested(value.credential)],
    announcement: () => [2, signed([unhex(value.federation), unhex(value.peer), value.sequence, value.addresses])],
    charter: () => [3, signed([unhex(value.federation), value.sequence, value.name, value.replicas])],
    dismissal: () => [4, [nested(value.revocation), nested(value.admin), nested(value.target)]],
  };
  return cbor.encode(bodies[value.kind]());
}

// Whether whoever is to say it has.
export async function isSigned(value, bytes) {
  const [kind, [body, signature]] = cbor.decode(bytes);
  if (kind !== 2n && kind !== 3n) return true;
  const label = kind === 2n ? 'jsfs/v1/announcement' : 'jsfs/v1/charter';
  return verify(unhex(kind === 2n ? value.peer : value.federation), concat(label, body), signature);
}

const hello = (value) => [nested(value.credential), nested(value.announcement), unhex(value.digest)];

export function writeMembership(side, value) {
  const kinds = {
    request: {
      hello: () => [1, hello(value)],
      join: () => [2, unhex(value.secret)],
      sync: () => [3, joined(value.marks)],
      tell: () => [4, value.items.map(unhex)],
    },
    answer: {
      refused: () => [0, value.code],
      hello: () => [1, hello(value)],
      welcome: () => [2, nested(value.credential)],
      difference: () => [3, value.items.map(unhex), joined(value.wanted), value.more],
      heard: () => [4, value.new],
    },
  };
  return cbor.encode(kinds[side][value.kind]());
}

export function writeBlockstore(side, value) {
  const ids = () => joined(value.ids);
  const bitmap = () => {
    const bytes = new Uint8Array(Math.ceil(value.bits.length / 8));
    value.bits.forEach((bit, at) => (bytes[at >> 3] |= Number(bit) << (at & 7)));
    return bytes;
  };
  const kinds = {
    request: {
      have: () => [1, ids()],
      get: () => [2, ids()],
      put: () => [3, ids(), value.lease_s],
      pin: () => [4, ids(), value.lease_s],
      unpin: () => [5, ids()],
    },
    answer: {
      refused: () => [0, value.code],
      marked: () => [1, bitmap()],
      kept: () => [2, Uint8Array.from(value.codes)],
    },
  };
  if (side === 'piece') return value.kind === 'block' ? concat(Uint8Array.of(0), unhex(value.bytes)) : Uint8Array.of(1, value.code);
  return cbor.encode(kinds[side][value.kind]());
}

// Refuses what is no request.
export function readRequest(protocol, bytes) {
  const [kind, body, lease, ...rest] = cbor.decode(bytes);
  must(rest.length === 0, 'too long');
  if (protocol === 'membership') {
    must(lease === undefined && kind >= 1n && kind <= 4n, 'an unknown request');
    if (kind !== 3n) return;
    const marks = cut(body, 8).map(hex);
    must(body.length % 8 === 0 && marks.every((one, at) => at === 0 || marks[at - 1] < one), 'marks do not ascend');
    return;
  }
  must(kind >= 1n && kind <= 5n && (lease !== undefined) === (kind === 3n || kind === 4n), 'an unknown request');
  must(body.length % 32 === 0 && body.length > 0, 'no list of blocks');
  must(body.length / 32 <= (kind === 2n || kind === 3n ? 64 : 1024), 'too many blocks');
  must(lease === undefined || (lease >= 1n && lease <= 7776000n), 'no lease');
}


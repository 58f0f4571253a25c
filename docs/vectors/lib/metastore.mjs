// Messages of the metastore (docs/protocols/metastore.md), read by their tables, and which members keep a home.

import { hex, unhex } from './bytes.mjs';
import * as cbor from './cbor.mjs';
import { blake3 } from './primitives.mjs';

const must = (holds, what) => {
  if (!holds) throw new Error(what);
};

// Each of these takes a decoded value and gives what JSON has of it: bytes as hexadecimal, numbers as numbers.
const number = (most) => (value) => {
  must(typeof value === 'bigint' && value <= most, 'a number');
  return Number(value);
};
const bytes = (least, most) => (value) => {
  must(value instanceof Uint8Array && value.length >= least && value.length <= most, 'bytes');
  return hex(value);
};
const bool = (value) => {
  must(typeof value === 'boolean', 'a bool');
  return value;
};
const orNull = (read) => (value) => (value === null ? null : read(value));
const list = (read, least, most) => (value) => {
  must(Array.isArray(value) && value.length >= least && value.length <= most, 'a list');
  return value.map(read);
};
const tuple = (...reads) => (value) => {
  must(Array.isArray(value) && value.length === reads.length, 'a tuple');
  return reads.map((read, at) => read(value[at]));
};
const oneOf = (kinds) => (value) => {
  must(Array.isArray(value) && typeof value[0] === 'bigint' && kinds[value[0]], 'a kind');
  return [Number(value[0]), ...tuple(...kinds[value[0]])(value.slice(1))];
};

const any = number(2n ** 64n - 1n);
const id = bytes(32, 32);
const hold = bytes(16, 16);
const envelope = bytes(0, 512 * 1024 + 8192 + 512);
const marks = list(bytes(8, 8), 0, 64);
const row = bytes(96, 96);
const cursor = tuple(any, any);
const range = tuple(row, orNull(row), id);
const kind = (value) => {
  must(value >= 1n && value <= 3n, 'a kind of record');
  return Number(value);
};
const summary = tuple(id, id, any, any, any, kind);
const summaries = list(summary, 0, 512);
const slot = tuple(list(envelope, 0, 512), marks);
const entry = tuple(id, list(tuple(summary, orNull(envelope)), 0, 512), marks);

const sides = {
  request: oneOf({
    1: [id, list(envelope, 1, 16), orNull(hold)],
    2: [list(id, 1, 64), number(32n)],
    3: [id, orNull(id), number(1000n)],
    4: [list(id, 1, 64)],
    5: [id, id, orNull(id), hold, any],
    6: [id, hold],
    7: [list(range, 1, 16)],
    8: [list(row, 1, 64)],
    9: [list(row, 1, 64)],
    10: [id, orNull(cursor), any],
    11: [id],
    12: [id],
  }),
  answer: oneOf({
    0: [any],
    1: [list(bool, 0, 16)],
    2: [bool, list(slot, 0, 64)],
    3: [bool, list(entry, 0, 1000), bool, bool],
    4: [bool, list(summaries, 0, 64)],
    5: [],
    6: [summaries],
    7: [],
    8: [list(oneOf({ 0: [], 1: [list(range, 0, 16)], 2: [list(row, 0, 64)] }), 0, 16)],
    9: [list(orNull(envelope), 0, 64)],
    10: [],
    11: [cursor, bool, list(id, 0, 1024), bool],
    12: [],
  }),
};

export const read = (side, encoding) => sides[side](cbor.decode(encoding));

export const fingerprint = (rows) => blake3(...rows);

// Where a group lists a locator, with so many of its digits.
export function shard(group, locator, digits) {
  if (digits === 0) return group;
  const bits = ((locator[0] << 8) | locator[1]) & ~(0xffff >> (4 * digits));
  return blake3('jsfs/v1/shard', group, Uint8Array.of(digits, bits >> 8, bits & 0xff));
}

// The best five members for a home: greater draws first, of equal ones the lesser peer.
export function replicas(home, members) {
  const draw = (peer) => hex(blake3('jsfs/v1/home', home, unhex(peer)).subarray(0, 8));
  const lots = members.map((peer) => ({ peer, draw: draw(peer) }));
  lots.sort((one, other) => (one.draw === other.draw ? (one.peer < other.peer ? -1 : 1) : one.draw > other.draw ? -1 : 1));
  return lots.slice(0, 5).map((lot) => lot.peer);
}

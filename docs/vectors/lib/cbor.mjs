// Deterministic CBOR (RFC 8949 §4.2), as far as the formats use it: unsigned integers (BigInt), byte strings, texts, arrays, maps with
// ascending integer keys (Map), booleans, null. Everything else is refused.

import { concat, text, u64, utf8 } from './bytes.mjs';

const fail = (what) => {
  throw new Error(`CBOR: ${what}`);
};

export function decode(bytes) {
  const input = { bytes, at: 0 };
  const value = item(input, 0);
  if (input.at !== bytes.length) fail('bytes after the end');
  return value;
}

function take(input, length) {
  if (length > input.bytes.length - input.at) fail('cut short');
  input.at += length;
  return input.bytes.subarray(input.at - length, input.at);
}

function argument(input, small) {
  if (small < 24) return BigInt(small);
  if (small > 27) fail('indefinite or reserved length');
  const width = 1 << (small - 24);
  const value = take(input, width).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const least = [24n, 1n << 8n, 1n << 16n, 1n << 32n][small - 24];
  return value < least ? fail('not the shortest form') : value;
}

function item(input, depth) {
  if (depth > 16) fail('too deep');
  const [first] = take(input, 1);
  const major = first >> 5;
  if (major === 7) {
    const simple = { 0xf4: false, 0xf5: true, 0xf6: null }[first];
    return simple === undefined ? fail('neither bool nor null') : simple;
  }
  const value = argument(input, first & 31);
  if (major === 0) return value;
  if (value > BigInt(input.bytes.length)) fail('longer than the input');
  const length = Number(value);
  if (major === 2) return take(input, length);
  if (major === 3) return text(take(input, length));
  if (major === 4) return Array.from({ length }, () => item(input, depth + 1));
  if (major !== 5) fail('a negative number or a tag');
  const map = new Map();
  let last = -1n;
  for (let count = 0; count < length; count += 1) {
    const key = item(input, depth + 1);
    if (typeof key !== 'bigint' || key <= last) fail('keys are not ascending integers');
    last = key;
    map.set(Number(key), item(input, depth + 1));
  }
  return map;
}

function head(major, number) {
  const value = BigInt(number);
  if (value < 24n) return Uint8Array.of((major << 5) | Number(value));
  const small = value < 1n << 8n ? 24 : value < 1n << 16n ? 25 : value < 1n << 32n ? 26 : 27;
  return concat(Uint8Array.of((major << 5) | small), u64(value).subarray(8 - (1 << (small - 24))));
}

export function encode(value) {
  if (value === null) return Uint8Array.of(0xf6);
  if (typeof value === 'boolean') return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (typeof value === 'bigint' || typeof value === 'number') return head(0, value);
  if (typeof value === 'string') return concat(head(3, utf8(value).length), value);
  if (value instanceof Uint8Array) return concat(head(2, value.length), value);
  if (Array.isArray(value)) return concat(head(4, value.length), ...value.map(encode));
  const pairs = [...value].sort(([one], [two]) => one - two);
  return concat(head(5, pairs.length), ...pairs.flatMap(([key, inner]) => [encode(key), encode(inner)]));
}

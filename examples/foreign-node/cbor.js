// Deterministic CBOR as docs/protocols uses it: numbers, byte strings, texts, arrays, maps with small numbers as keys (Map), true, false and null.

const utf8 = new TextEncoder();
const text = new TextDecoder('utf-8', { fatal: true });

const fail = (what) => {
  throw new Error(`malformed: ${what}`);
};

export function decode(bytes) {
  let at = 0;
  const take = (length) => {
    if (length > bytes.length - at) fail('cut short');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const argument = (small) => {
    if (small < 24) return small;
    if (small > 27) fail('a length without end');
    const width = 1 << (small - 24);
    let value = 0;
    for (const byte of take(width)) value = value * 256 + byte;
    if (!Number.isSafeInteger(value) || value < [24, 256, 65536, 4294967296][small - 24]) fail('a number');
    return value;
  };
  const item = (depth) => {
    if (depth > 16) fail('too deep');
    const first = take(1)[0];
    if (first >= 0xf4 && first <= 0xf6) return [false, true, null][first - 0xf4];
    const value = argument(first & 31);
    const many = (read) => (value > bytes.length ? fail('too long') : Array.from({ length: value }, read));
    switch (first >> 5) {
      case 0:
        return value;
      case 2:
        return take(value);
      case 3:
        return text.decode(take(value));
      case 4:
        return many(() => item(depth + 1));
      case 5: {
        const pairs = many(() => [item(depth + 1), item(depth + 1)]);
        if (!pairs.every(([key], index) => Number.isInteger(key) && (index === 0 || pairs[index - 1][0] < key))) fail('keys');
        return new Map(pairs);
      }
      default:
        return fail('a kind that is not used');
    }
  };
  const value = item(0);
  if (at !== bytes.length) fail('bytes after the end');
  return value;
}

function head(major, value) {
  if (value < 24) return Buffer.of((major << 5) | value);
  const width = value < 256 ? 1 : value < 65536 ? 2 : value < 4294967296 ? 4 : 8;
  const bytes = Buffer.alloc(1 + width);
  bytes[0] = (major << 5) | (24 + Math.log2(width));
  if (width === 8) bytes.writeBigUInt64BE(BigInt(value), 1);
  else bytes.writeUIntBE(value, 1, width);
  return bytes;
}

export function encode(value) {
  if (value === null) return Buffer.of(0xf6);
  if (typeof value === 'boolean') return Buffer.of(value ? 0xf5 : 0xf4);
  if (typeof value === 'number') return head(0, value);
  if (typeof value === 'string') return Buffer.concat([head(3, utf8.encode(value).length), utf8.encode(value)]);
  if (value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value]);
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(encode)]);
  return Buffer.concat([head(5, value.size), ...[...value].flatMap(([key, inner]) => [encode(key), encode(inner)])]);
}

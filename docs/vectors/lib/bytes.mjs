// Bytes and their texts: hexadecimal, base58btc, base64url, UTF-8. Decoders refuse every spelling but one.

export const utf8 = (text) => new TextEncoder().encode(text);

export const concat = (...parts) => {
  const all = parts.map((part) => (typeof part === 'string' ? utf8(part) : part));
  const joined = new Uint8Array(all.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of all) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
};

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

export const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

export const same = (one, two) => hex(one) === hex(two);

export const u64 = (number) => unhex(BigInt(number).toString(16).padStart(16, '0'));

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

export function base58(bytes) {
  let number = bytes.length ? BigInt('0x' + hex(bytes)) : 0n;
  let text = '';
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text;
}

// The bytes of a text, or null where a character is not in the alphabet.
export function unbase58(text) {
  let number = 0n;
  for (const letter of text) {
    const digit = ALPHABET.indexOf(letter);
    if (digit < 0) return null;
    number = number * 58n + BigInt(digit);
  }
  let digits = number === 0n ? '' : number.toString(16);
  if (digits.length % 2) digits = '0' + digits;
  const zeros = /^1*/.exec(text)[0].length;
  return concat(new Uint8Array(zeros), unhex(digits));
}

export const base64url = (bytes) => Buffer.from(bytes).toString('base64url');

// The bytes of a text without padding, or null.
export function unbase64url(text) {
  const bytes = new Uint8Array(Buffer.from(text, 'base64url'));
  return base64url(bytes) === text ? bytes : null;
}

// The text of bytes; throws where they are not UTF-8.
export const text = (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

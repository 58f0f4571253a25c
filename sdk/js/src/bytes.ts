// Bytes and their texts: UTF-8, hexadecimal, base58btc, base64url.
//
// Decoders accept one spelling of a value and no other, since what is signed or checksummed must not have two.

/** Bytes in memory of their own, as WebCrypto and `fetch` want them. */
export type Bytes = Uint8Array<ArrayBuffer>;

export function utf8(text: string): Bytes {
  return new TextEncoder().encode(text);
}

/** The text of bytes; a `TypeError` where they are not UTF-8. */
export function text(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}

/** Everything one after the other; texts as UTF-8. */
export function concat(...parts: readonly (string | Uint8Array)[]): Bytes {
  const all = parts.map((part) => (typeof part === 'string' ? utf8(part) : part));
  const joined = new Uint8Array(all.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of all) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function equal(one: Uint8Array, two: Uint8Array): boolean {
  return one.length === two.length && one.every((byte, at) => byte === two[at]);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

export function base58(bytes: Uint8Array): string {
  let number = bytes.length ? BigInt(`0x${hex(bytes)}`) : 0n;
  let digits = '';
  for (; number > 0n; number /= 58n) digits = BASE58.charAt(Number(number % 58n)) + digits;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + digits;
}

/** The bytes of a base58btc text, or null where a character is not in the alphabet. */
export function unbase58(encoded: string): Bytes | null {
  let number = 0n;
  for (const letter of encoded) {
    const digit = BASE58.indexOf(letter);
    if (digit < 0) return null;
    number = number * 58n + BigInt(digit);
  }
  const tail: number[] = [];
  for (; number > 0n; number >>= 8n) tail.unshift(Number(number & 255n));
  const zeros = encoded.length - encoded.replace(/^1+/, '').length;
  return concat(new Uint8Array(zeros), Uint8Array.from(tail));
}

export function base64url(bytes: Uint8Array): string {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The bytes of a base64url text without padding, or null where it is none. */
export function unbase64url(encoded: string): Bytes | null {
  if (!/^[\w-]*$/.test(encoded) || encoded.length % 4 === 1) return null;
  const binary = atob(encoded.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  return base64url(bytes) === encoded ? bytes : null;
}

/** The bytes of a standard base64 text. */
export function unbase64(encoded: string): Bytes {
  return Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
}

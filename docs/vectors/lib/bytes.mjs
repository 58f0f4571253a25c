// Bytes and their texts, as the SDK has them, and what only the vectors need.

export { concat, equal as same, hex, text, utf8 } from '../../../sdk/js/dist/bytes.js';

export const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

export const u64 = (number) => unhex(BigInt(number).toString(16).padStart(16, '0'));

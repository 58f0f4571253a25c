// Whether bytes are what `integrity` says: Subresource Integrity, section 3.3.

import { append, bufferOf, regexpExec, stringSplit } from './primordials.ts';
import { host } from './worker.ts';

const item = /^sha(256|384|512)-([A-Za-z0-9+/_-]+={0,2})(?:\?.*)?$/;
const whitespace = '\t\n\f\r ';
const encodeBase64 = (globalThis as unknown as { btoa: (text: string) => string }).btoa;
const { fromCharCode } = String;

/** Whether the bytes have one of the strongest of the digests. Metadata that names none is no condition. */
export function matches(bytes: Uint8Array, metadata: string): boolean {
  let strongest = '';
  let digests: string[] = [];
  const words = wordsOf(metadata);
  for (let i = 0; i < words.length; i++) {
    const match = regexpExec(item, words[i] as string);
    if (match === null) continue;
    const hash = match[1] as string;
    if (hash > strongest) {
      strongest = hash;
      digests = [];
    }
    if (hash === strongest) append(digests, plain(match[2] as string));
  }
  if (strongest === '') return true;
  const actual = plain(digest(bytes, strongest));
  for (let i = 0; i < digests.length; i++) if (digests[i] === actual) return true;
  return false;
}

function wordsOf(text: string): string[] {
  const words: string[] = [];
  let word = '';
  for (let i = 0; i <= text.length; i++) {
    const character = text[i];
    if (character !== undefined && stringSplit(whitespace, character).length === 1) {
      word += character;
    } else {
      if (word !== '') append(words, word);
      word = '';
    }
  }
  return words;
}

/** Both alphabets of base64 are allowed, with padding or without. */
function plain(base64: string): string {
  let text = '';
  for (let i = 0; i < base64.length; i++) {
    const character = base64[i] as string;
    if (character !== '=') text += character === '-' ? '+' : character === '_' ? '/' : character;
  }
  return text;
}

function digest(bytes: Uint8Array, hash: string): string {
  const result = new Uint8Array(host.crypto('digest', `{"hash":"SHA-${hash}"}`, bufferOf(bytes)) as ArrayBuffer);
  let binary = '';
  for (let i = 0; i < result.length; i++) binary += fromCharCode(result[i] as number);
  return encodeBase64(binary);
}

// data: URLs (Fetch Standard, section 6) and blob: URLs (File API, section 8).

import { type Blob, bytesOf, isBlob, typeOf } from './blob.ts';
import {
  concat, mapDelete, mapGet, mapSet, stringCharCodeAt, stringIndexOf, stringPadStart, stringSlice, stringStartsWith, stringToLowerCase,
} from './primordials.ts';
import { parseMime, serializeMime } from './mime.ts';
import { withoutFragment } from './request.ts';
import { defineFunctions, requireArguments, toDOMString } from './webidl.ts';
import { host } from './worker.ts';
import { program, tryParseUrl } from './location.ts';

export interface Local {
  bytes: Uint8Array<ArrayBuffer>;
  type: string;
}

const NativeUint8Array = Uint8Array;
const decodeBase64 = (globalThis as unknown as { atob: (text: string) => string }).atob;

/** What a data: URL holds, or undefined if it is malformed. */
export function parseDataUrl(url: string): Local | undefined {
  const text = stringSlice(withoutFragment(url), 5);
  const comma = stringIndexOf(text, ',');
  if (comma < 0) return undefined;
  let type = trimSpaces(stringSlice(text, 0, comma));
  let bytes = percentDecode(stringSlice(text, comma + 1));
  const marker = base64Marker(type);
  if (marker >= 0) {
    let encoded = '';
    for (let i = 0; i < bytes.length; i++) encoded += NativeFromCharCode(bytes[i] as number);
    try {
      bytes = binary(decodeBase64(encoded));
    } catch {
      return undefined;
    }
    type = stringSlice(type, 0, marker);
  }
  if (stringStartsWith(type, ';')) type = `text/plain${type}`;
  const mime = parseMime(type);
  return { bytes, type: mime === undefined ? 'text/plain;charset=US-ASCII' : serializeMime(mime) };
}
const NativeFromCharCode = String.fromCharCode;

/** Where `;base64` at the end begins, with spaces after the semicolon; -1 if there is none. */
function base64Marker(type: string): number {
  const word = 'base64';
  let at = type.length - word.length;
  if (at < 1 || stringToLowerCase(stringSlice(type, at)) !== word) return -1;
  while (at > 0 && type[at - 1] === ' ') at--;
  return at > 0 && type[at - 1] === ';' ? at - 1 : -1;
}

function trimSpaces(text: string): string {
  let from = 0;
  let to = text.length;
  const space = (at: number) => {
    const code = stringCharCodeAt(text, at);
    return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0c || code === 0x0d;
  };
  while (from < to && space(from)) from++;
  while (to > from && space(to - 1)) to--;
  return stringSlice(text, from, to);
}

function binary(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new NativeUint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = stringCharCodeAt(text, i);
  return bytes;
}

/** What was parsed as a URL has only ASCII in it, so that characters are bytes. */
function percentDecode(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new NativeUint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const code = stringCharCodeAt(text, i);
    const high = code === 0x25 ? hexDigit(stringCharCodeAt(text, i + 1)) : -1;
    const low = high >= 0 ? hexDigit(stringCharCodeAt(text, i + 2)) : -1;
    if (low >= 0) {
      bytes[length++] = high * 16 + low;
      i += 2;
    } else {
      bytes[length++] = code;
    }
  }
  return concat([new NativeUint8Array(bytes.buffer, 0, length)]);
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x41 && code <= 0x46) return code - 0x37;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  return -1;
}

// The store lives as long as the program's image.
const blobs = new Map<string, Blob>();

export function blobAt(url: string): Local | undefined {
  const blob = mapGet(blobs, withoutFragment(url));
  return blob === undefined ? undefined : { bytes: bytesOf(blob), type: typeOf(blob) };
}

function uuid(): string {
  const bytes = new NativeUint8Array(host.random(16));
  bytes[6] = ((bytes[6] as number) & 15) | 64;
  bytes[8] = ((bytes[8] as number) & 63) | 128;
  let text = '';
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
    text += stringPadStart(numberToHex(bytes[i] as number), 2, '0');
  }
  return text;
}
function numberToHex(byte: number): string {
  const digits = '0123456789abcdef';
  return `${digits[byte >> 4]}${digits[byte & 15]}`;
}

/** `URL.createObjectURL` and `URL.revokeObjectURL`, on the class that is on the global. */
export function install(global: object): void {
  const { URL } = global as { URL?: object };
  if (URL === undefined) return;
  defineFunctions(URL, {
    createObjectURL(obj: unknown): string {
      requireArguments(arguments.length, 1, 'URL.createObjectURL');
      if (!isBlob(obj)) throw new TypeError('URL.createObjectURL: the argument is not a Blob');
      const url = `blob:${tryParseUrl(program.base)?.origin ?? 'null'}/${uuid()}`;
      mapSet(blobs, url, obj);
      return url;
    },
    revokeObjectURL(url: unknown): void {
      requireArguments(arguments.length, 1, 'URL.revokeObjectURL');
      mapDelete(blobs, toDOMString(url));
    },
  });
}

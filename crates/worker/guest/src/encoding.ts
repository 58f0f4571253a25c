// TextEncoder, TextDecoder and their streams, as the Encoding Standard has them (section 7). The encodings themselves are the worker's.
//
// A call down decodes whole characters and keeps no state, so that what a decoder has not yet used is in this memory: bytes that begin a
// character wait in `pending` until the rest of it has come. ISO-2022-JP alone has more state, the escape sequence in force: it is given
// again before each later chunk, with one character after it if any came, whose text is then dropped.

import type { Host } from './host.ts';
import { bufferOf, bytesIn, concat, isView, stringCharCodeAt, stringSlice, typedArrayName, uncurry } from './primordials.ts';
import { newTransform, prepareStreaming, type Transform } from './streaming.ts';
import { defineInterface, dictionary, member, requireArguments, toBufferSource, toDOMString } from './webidl.ts';

const NativeUint8Array = Uint8Array;
const bytesSet = uncurry(Uint8Array.prototype.set as (this: Uint8Array, source: ArrayLike<number>, offset?: number) => void);
const subarray = uncurry(Uint8Array.prototype.subarray as (this: Uint8Array, from: number, to?: number) => Uint8Array<ArrayBuffer>);
const lastIndexOf = uncurry(Uint8Array.prototype.lastIndexOf as (this: Uint8Array, byte: number) => number);

let host: Host;

/** The bytes of a string in UTF-8. */
export function utf8Encode(text: string): Uint8Array<ArrayBuffer> {
  return new NativeUint8Array(host.encode(text));
}

/** The text of bytes in UTF-8; a byte order mark at the beginning is dropped, what is malformed becomes U+FFFD. */
export function utf8Decode(bytes: Uint8Array): string {
  return host.decode('utf-8', bufferOf(bytes), false, false);
}

export class TextEncoder {
  // The brand: there is nothing to keep.
  #encoder = true;

  constructor() {}

  get encoding(): string {
    this.#encoder;
    return 'utf-8';
  }

  encode(input: string = ''): Uint8Array<ArrayBuffer> {
    this.#encoder;
    return utf8Encode(toDOMString(input));
  }

  encodeInto(source: string, destination: Uint8Array): { read: number; written: number } {
    this.#encoder;
    requireArguments(arguments.length, 2, 'TextEncoder.encodeInto');
    const text = toDOMString(source);
    if (!isView(destination) || typedArrayName(destination) !== 'Uint8Array') {
      throw new TypeError('TextEncoder.encodeInto: the destination is not a Uint8Array');
    }
    const room = bytesIn(destination);
    // A code unit takes at least one byte, so that no more of them can fit; one more may be the second half of a pair.
    const candidate = text.length > room.length + 1 ? stringSlice(text, 0, room.length + 1) : text;
    const bytes = utf8Encode(candidate);
    if (bytes.length <= room.length) {
      bytesSet(room, bytes);
      return { read: candidate.length, written: bytes.length };
    }
    let written = room.length;
    while (written > 0 && ((bytes[written] as number) & 0xc0) === 0x80) written--;
    const fitting = subarray(bytes, 0, written);
    bytesSet(room, fitting);
    return { read: host.decode('utf-8', bufferOf(fitting), false, true).length, written };
  }
}

/** What a decoder keeps between chunks. */
interface Decoding {
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreMark: boolean;
  pending: Uint8Array<ArrayBuffer>;
  markSeen: boolean;
  /** Of ISO-2022-JP: what is given again before the next chunk. */
  context: Uint8Array<ArrayBuffer>;
  contextText: number;
}

const noBytes = new NativeUint8Array();

function newDecoding(label: unknown, options: unknown, what: string): Decoding {
  const text = toDOMString(label);
  const dict = dictionary(options, `${what}: options`);
  const fatal = member(dict, 'fatal', (value) => !!value) === true;
  const ignoreMark = member(dict, 'ignoreBOM', (value) => !!value) === true;
  const encoding = host.encodingName(text);
  if (encoding === undefined || encoding === 'replacement') throw new RangeError(`${what}: '${text}' names no encoding that can be decoded`);
  return { encoding, fatal, ignoreMark, pending: noBytes, markSeen: false, context: noBytes, contextText: 0 };
}

function resetDecoding(decoding: Decoding): void {
  decoding.pending = noBytes;
  decoding.markSeen = false;
  decoding.context = noBytes;
  decoding.contextText = 0;
}

function decodeChunk(decoding: Decoding, chunk: Uint8Array<ArrayBuffer>, more: boolean): string {
  const bytes = decoding.pending.length === 0 ? chunk : concat([decoding.pending, chunk]);
  const held = more ? incomplete(decoding, bytes) : 0;
  const ready = held === 0 ? bytes : subarray(bytes, 0, bytes.length - held);
  // The chunk is the program's and may change: what is kept of it is a copy.
  decoding.pending = held === 0 ? noBytes : concat([subarray(bytes, bytes.length - held)]);
  if (ready.length === 0) return '';
  const whole = decoding.context.length === 0 ? ready : concat([decoding.context, ready]);
  let text: string;
  try {
    text = host.decode(decoding.encoding, bufferOf(whole), decoding.fatal, decoding.ignoreMark || decoding.markSeen);
  } catch (error) {
    resetDecoding(decoding);
    throw error;
  }
  decoding.markSeen = true;
  if (decoding.contextText > 0) text = stringSlice(text, decoding.contextText);
  if (more && decoding.encoding === 'iso-2022-jp') keepEscape(decoding, ready);
  return text;
}

/** How many bytes at the end begin a character that is not complete. */
function incomplete(decoding: Decoding, bytes: Uint8Array<ArrayBuffer>): number {
  switch (decoding.encoding) {
    case 'utf-8':
      return incompleteUtf8(bytes);
    case 'utf-16le':
    case 'utf-16be': {
      const odd = bytes.length % 2;
      const high = bytes[bytes.length - odd - (decoding.encoding === 'utf-16le' ? 1 : 2)];
      return high !== undefined && (high & 0xfc) === 0xd8 ? odd + 2 : odd;
    }
    case 'big5':
    case 'euc-jp':
    case 'euc-kr':
    case 'gb18030':
    case 'gbk':
    case 'shift_jis':
      return host.incomplete(decoding.encoding, bufferOf(bytes));
    case 'iso-2022-jp':
      return host.incomplete(decoding.encoding, bufferOf(concat([decoding.context, bytes])));
    default:
      return 0;
  }
}

function incompleteUtf8(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 && byte <= 0xf4 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc2 && byte < 0xe0 ? 2 : 0;
    if (length <= back) return 0;
    const second = bytes[bytes.length - back + 1];
    if (second === undefined) return back;
    const lowest = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
    const highest = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
    return second >= lowest && second <= highest ? back : 0;
  }
  return 0;
}

function keepEscape(decoding: Decoding, ready: Uint8Array): void {
  let rest = ready;
  for (;;) {
    const at = lastIndexOf(rest, 0x1b);
    if (at < 0) break;
    const first = ready[at + 1] as number;
    const second = ready[at + 2] as number;
    const toOneByte = first === 0x28 && (second === 0x42 || second === 0x4a || second === 0x49);
    const toTwoBytes = first === 0x24 && (second === 0x40 || second === 0x42);
    if (toOneByte || toTwoBytes) {
      const after = at + 3 < ready.length;
      decoding.context = new NativeUint8Array(after ? (toTwoBytes ? 5 : 4) : 3);
      bytesSet(decoding.context, [0x1b, first, second]);
      if (after) bytesSet(decoding.context, toTwoBytes ? [0x21, 0x21] : [0x21], 3);
      decoding.contextText = after ? 1 : 0;
      return;
    }
    rest = subarray(rest, 0, at);
  }
  // No escape sequence in this chunk: the one in force has characters after it now.
  const escape = decoding.context;
  if (escape.length === 3) {
    const toTwoBytes = escape[1] === 0x24;
    decoding.context = new NativeUint8Array(toTwoBytes ? 5 : 4);
    bytesSet(decoding.context, escape);
    bytesSet(decoding.context, toTwoBytes ? [0x21, 0x21] : [0x21], 3);
    decoding.contextText = 1;
  }
}

export class TextDecoder {
  #decoding: Decoding;
  #more = false;

  constructor(label: string = 'utf-8', options: unknown = undefined) {
    this.#decoding = newDecoding(label, options, 'TextDecoder constructor');
  }

  get encoding(): string {
    return this.#decoding.encoding;
  }

  get fatal(): boolean {
    return this.#decoding.fatal;
  }

  get ignoreBOM(): boolean {
    return this.#decoding.ignoreMark;
  }

  decode(input: unknown = undefined, options: unknown = undefined): string {
    const decoding = this.#decoding;
    const bytes = input === undefined ? noBytes : toBufferSource(input, 'TextDecoder.decode: the input', { shared: true, resizable: true });
    const more = member(dictionary(options, 'TextDecoder.decode: options'), 'stream', (value) => !!value) === true;
    if (!this.#more) resetDecoding(decoding);
    this.#more = more;
    return decodeChunk(decoding, bytes, more);
  }
}

// Streams (section 7.5 and 7.6)

export class TextDecoderStream {
  #decoding: Decoding;
  #transform: Transform;

  constructor(label: string = 'utf-8', options: unknown = undefined) {
    const decoding = newDecoding(label, options, 'TextDecoderStream constructor');
    this.#decoding = decoding;
    this.#transform = newTransform(
      (chunk, enqueue) => {
        const bytes = toBufferSource(chunk, 'TextDecoderStream: the chunk', { shared: true, resizable: true });
        const text = decodeChunk(decoding, bytes, true);
        if (text !== '') enqueue(text);
      },
      (enqueue) => {
        const text = decodeChunk(decoding, noBytes, false);
        if (text !== '') enqueue(text);
      },
    );
  }

  get encoding(): string {
    return this.#decoding.encoding;
  }

  get fatal(): boolean {
    return this.#decoding.fatal;
  }

  get ignoreBOM(): boolean {
    return this.#decoding.ignoreMark;
  }

  get readable(): object {
    return this.#transform.readable;
  }

  get writable(): object {
    return this.#transform.writable;
  }
}

export class TextEncoderStream {
  #transform: Transform;

  constructor() {
    // The first half of a surrogate pair whose second half may come with the next chunk.
    let half = '';
    this.#transform = newTransform(
      (chunk, enqueue) => {
        const text = half + toDOMString(chunk);
        const last = stringCharCodeAt(text, text.length - 1);
        const whole = last >= 0xd800 && last <= 0xdbff ? stringSlice(text, 0, text.length - 1) : text;
        half = stringSlice(text, whole.length);
        if (whole !== '') enqueue(utf8Encode(whole));
      },
      (enqueue) => {
        if (half !== '') enqueue(utf8Encode(half));
      },
    );
  }

  get encoding(): string {
    this.#transform;
    return 'utf-8';
  }

  get readable(): object {
    return this.#transform.readable;
  }

  get writable(): object {
    return this.#transform.writable;
  }
}

export function install(global: object, theHost: Host): void {
  host = theHost;
  prepareStreaming(global);
  defineInterface(global, 'TextEncoder', TextEncoder);
  defineInterface(global, 'TextDecoder', TextDecoder);
  defineInterface(global, 'TextEncoderStream', TextEncoderStream);
  defineInterface(global, 'TextDecoderStream', TextDecoderStream);
}

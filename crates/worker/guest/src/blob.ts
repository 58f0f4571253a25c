// Blob and File, as the File API has them (sections 3 and 4). A blob's bytes are in the sandbox's memory, and its slices share them.

import type { Host } from './host.ts';
import { utf8Decode, utf8Encode } from './encoding.ts';
import {
  append, bufferOf, bytesIn, concat, copyOf, floor, isArrayBuffer, isView, stringCharCodeAt, stringIndexOf, stringSlice, stringToLowerCase,
  uncurry,
} from './primordials.ts';
import { newByteStream, prepareStreaming } from './streaming.ts';
import {
  defineInterface, dictionary, internal, isObject, member, requireArguments, toBufferSource, toDOMString, toEnum, toLongLong, toSequence,
  toUSVString,
} from './webidl.ts';

const subarray = uncurry(Uint8Array.prototype.subarray as (this: Uint8Array, from: number, to?: number) => Uint8Array<ArrayBuffer>);

/** How many bytes a stream gives at once. */
const chunkBytes = 65536;

let host: Host;

/** The blob's bytes themselves: never to be changed, nor shown to a program but as a copy. */
export let bytesOf: (blob: Blob) => Uint8Array<ArrayBuffer>;
export let typeOf: (blob: Blob) => string;
export let isBlob: (value: unknown) => value is Blob;
export let isFile: (value: unknown) => value is File;
export let nameOf: (file: File) => string;
export let lastModifiedOf: (file: File) => number;

type Part = string | Uint8Array<ArrayBuffer>;
type Endings = 'transparent' | 'native';
interface Bag {
  endings: Endings;
  type: string;
}

interface Named {
  name: string;
  lastModified: number;
}

export class Blob {
  #bytes: Uint8Array<ArrayBuffer>;
  #type: string;

  static {
    bytesOf = (blob) => blob.#bytes;
    typeOf = (blob) => blob.#type;
    isBlob = (value): value is Blob => isObject(value) && #bytes in value;
  }

  constructor(blobParts: unknown = undefined, options: unknown = undefined, type: unknown = undefined) {
    if (blobParts === internal) {
      this.#bytes = options as Uint8Array<ArrayBuffer>;
      this.#type = type as string;
      return;
    }
    const parts = blobParts === undefined ? [] : toParts(blobParts, 'Blob constructor: the parts');
    const bag = toBag(options, 'Blob constructor: options');
    this.#bytes = join(parts, bag.endings);
    this.#type = bag.type;
  }

  get size(): number {
    return this.#bytes.length;
  }

  get type(): string {
    return this.#type;
  }

  slice(start: unknown = undefined, end: unknown = undefined, contentType: unknown = undefined): Blob {
    const size = this.#bytes.length;
    const from = start === undefined ? 0 : place(toLongLong(start, 'clamp'), size);
    const to = end === undefined ? size : place(toLongLong(end, 'clamp'), size);
    const type = contentType === undefined ? '' : normalType(toDOMString(contentType));
    return newBlob(subarray(this.#bytes, from, to < from ? from : to), type);
  }

  stream(): object {
    const bytes = this.#bytes;
    let at = 0;
    return newByteStream(() => {
      if (at >= bytes.length) return undefined;
      const piece = copyOf(subarray(bytes, at, at + chunkBytes));
      at += piece.length;
      return piece;
    });
  }

  async text(): Promise<string> {
    return utf8Decode(this.#bytes);
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return bufferOf(copyOf(this.#bytes));
  }

  async bytes(): Promise<Uint8Array> {
    return copyOf(this.#bytes);
  }
}

export class File extends Blob {
  #name: string;
  #lastModified: number;

  static {
    isFile = (value): value is File => isObject(value) && #name in value;
    nameOf = (file) => file.#name;
    lastModifiedOf = (file) => file.#lastModified;
  }

  constructor(fileBits: unknown, fileName: unknown, options: unknown = undefined, made: unknown = undefined) {
    if (fileBits === internal) {
      super(internal, fileName, options);
      this.#name = (made as Named).name;
      this.#lastModified = (made as Named).lastModified;
      return;
    }
    requireArguments(arguments.length, 2, 'File constructor');
    const parts = toParts(fileBits, 'File constructor: the parts');
    const name = toUSVString(fileName);
    const dict = dictionary(options, 'File constructor: options');
    const bag = toBag(dict, 'File constructor: options');
    const lastModified = member(dict, 'lastModified', toLongLong);
    super(internal, join(parts, bag.endings), bag.type);
    this.#name = name;
    this.#lastModified = lastModified ?? floor(host.now());
  }

  get name(): string {
    return this.#name;
  }

  get lastModified(): number {
    return this.#lastModified;
  }
}

/** A blob of these bytes, which nobody changes any more. */
export function newBlob(bytes: Uint8Array<ArrayBuffer>, type: string): Blob {
  return new Blob(internal, bytes, type);
}

export function newFile(bytes: Uint8Array<ArrayBuffer>, type: string, name: string, lastModified: number = floor(host.now())): File {
  return new File(internal, bytes, type, { name, lastModified } satisfies Named);
}

function toParts(value: unknown, what: string): (Part | Blob | ArrayBufferLike | ArrayBufferView)[] {
  return toSequence(value, toPart, what);
}

function toPart(value: unknown): Part | Blob | ArrayBuffer | ArrayBufferView {
  if (isView(value) || isArrayBuffer(value)) {
    toBufferSource(value, 'Blob: a part');
    return value;
  }
  return isBlob(value) ? value : toUSVString(value);
}

function toBag(value: unknown, what: string): Bag {
  const dict = dictionary(value, what);
  const endings = member(dict, 'endings', (ending) => toEnum<Endings>(ending, ['transparent', 'native'], `${what}: endings`));
  const type = member(dict, 'type', toDOMString);
  return { endings: endings ?? 'transparent', type: type === undefined ? '' : normalType(type) };
}

function join(parts: (Part | Blob | ArrayBufferLike | ArrayBufferView)[], endings: Endings): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as Part | Blob | ArrayBuffer | ArrayBufferView;
    if (typeof part === 'string') append(pieces, utf8Encode(endings === 'native' ? withLineFeeds(part) : part));
    else append(pieces, isBlob(part) ? bytesOf(part) : bytesIn(part as ArrayBuffer | ArrayBufferView));
  }
  return concat(pieces);
}

/** Every line ending as this platform's, a line feed. */
function withLineFeeds(text: string): string {
  let result = '';
  let from = 0;
  for (;;) {
    const at = stringIndexOf(text, '\r', from);
    if (at < 0) return result + stringSlice(text, from);
    result += stringSlice(text, from, at) + '\n';
    from = stringCharCodeAt(text, at + 1) === 0x0a ? at + 2 : at + 1;
  }
}

/** In lower case, or empty if a character of it is none that a type may have. */
function normalType(type: string): string {
  for (let i = 0; i < type.length; i++) {
    const code = stringCharCodeAt(type, i);
    if (code < 0x20 || code > 0x7e) return '';
  }
  return stringToLowerCase(type);
}

/** A position counted from the end if it is negative, within 0 and the size. */
function place(position: number, size: number): number {
  if (position < 0) return position + size < 0 ? 0 : position + size;
  return position > size ? size : position;
}

export function install(global: object, theHost: Host): void {
  host = theHost;
  prepareStreaming(global);
  defineInterface(global, 'Blob', Blob, { length: 0 });
  defineInterface(global, 'File', File, { length: 2 });
}


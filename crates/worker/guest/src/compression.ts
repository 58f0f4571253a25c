// CompressionStream and DecompressionStream, as the Compression Standard has them. The work is done by the bundled `pako`, whose state is in the
// sandbox's memory, so that a stream goes on in an image that is restored elsewhere.

import {
  Z_BUF_ERROR, Z_DEFAULT_STRATEGY, Z_FINISH, Z_NO_FLUSH, Z_OK, Z_STREAM_END, ZStream, zlibDeflate, zlibDeflateInit2, zlibInflate,
  zlibInflateInit2,
} from 'pako';
import type { Host } from './host.ts';
import { uncurry } from './primordials.ts';
import { newTransform, prepareStreaming, type Transform } from './streaming.ts';
import { copyBufferSource, defineInterface, requireArguments, toEnum } from './webidl.ts';

const NativeUint8Array = Uint8Array;
const bytesSlice = uncurry(Uint8Array.prototype.slice as (this: Uint8Array, from: number, to: number) => Uint8Array<ArrayBuffer>);

const formats = ['deflate', 'deflate-raw', 'gzip'] as const;
type Format = (typeof formats)[number];

/** How many bytes come out at once. */
const pieceBytes = 16384;
// Those of zlib: its default level and memory, and a window of 32 KiB, whose sign and size also say what is around the data.
const level = 6;
const deflated = 8;
const memory = 8;

function windowBits(format: Format): number {
  return format === 'gzip' ? 31 : format === 'deflate' ? 15 : -15;
}

function toFormat(value: unknown, what: string): Format {
  return toEnum(value, formats, `${what}: the format`);
}

/** Runs a step of the library for as long as it fills the output, and hands on what came out. Answers the last step's status. */
function drain(stream: ZStream, step: () => number, enqueue: (piece: Uint8Array) => void): number {
  for (;;) {
    stream.output = new NativeUint8Array(pieceBytes);
    stream.next_out = 0;
    stream.avail_out = pieceBytes;
    const status = step();
    if (stream.next_out > 0) enqueue(bytesSlice(stream.output, 0, stream.next_out));
    if (status !== Z_OK || stream.avail_out > 0) return status;
  }
}

function give(stream: ZStream, bytes: Uint8Array<ArrayBuffer>): void {
  stream.input = bytes;
  stream.next_in = 0;
  stream.avail_in = bytes.length;
}

function compressing(format: Format): Transform {
  const stream = new ZStream();
  zlibDeflateInit2(stream, level, deflated, windowBits(format), memory, Z_DEFAULT_STRATEGY);
  return newTransform(
    (chunk, enqueue) => {
      give(stream, copyBufferSource(chunk, 'CompressionStream: the chunk'));
      drain(stream, () => zlibDeflate(stream, Z_NO_FLUSH), enqueue);
    },
    (enqueue) => {
      give(stream, new NativeUint8Array());
      drain(stream, () => zlibDeflate(stream, Z_FINISH), enqueue);
    },
  );
}

function decompressing(format: Format): Transform {
  const stream = new ZStream();
  zlibInflateInit2(stream, windowBits(format));
  let ended = false;
  return newTransform(
    (chunk, enqueue) => {
      const bytes = copyBufferSource(chunk, 'DecompressionStream: the chunk');
      if (bytes.length === 0) return;
      if (ended) throw new TypeError('DecompressionStream: there is something after the end of the compressed data');
      give(stream, bytes);
      const status = drain(stream, () => zlibInflate(stream, Z_NO_FLUSH), enqueue);
      ended = status === Z_STREAM_END;
      if (!ended && status !== Z_OK && status !== Z_BUF_ERROR) throw new TypeError(`DecompressionStream: the data is no ${format}: ${stream.msg}`);
      if (ended && stream.avail_in > 0) throw new TypeError('DecompressionStream: there is something after the end of the compressed data');
    },
    () => {
      if (!ended) throw new TypeError('DecompressionStream: the compressed data is not complete');
    },
  );
}

export class CompressionStream {
  #transform: Transform;

  constructor(format: unknown) {
    requireArguments(arguments.length, 1, 'CompressionStream constructor');
    this.#transform = compressing(toFormat(format, 'CompressionStream constructor'));
  }

  get readable(): object {
    return this.#transform.readable;
  }

  get writable(): object {
    return this.#transform.writable;
  }
}

export class DecompressionStream {
  #transform: Transform;

  constructor(format: unknown) {
    requireArguments(arguments.length, 1, 'DecompressionStream constructor');
    this.#transform = decompressing(toFormat(format, 'DecompressionStream constructor'));
  }

  get readable(): object {
    return this.#transform.readable;
  }

  get writable(): object {
    return this.#transform.writable;
  }
}

export function install(global: object, _host: Host): void {
  prepareStreaming(global);
  defineInterface(global, 'CompressionStream', CompressionStream);
  defineInterface(global, 'DecompressionStream', DecompressionStream);
}

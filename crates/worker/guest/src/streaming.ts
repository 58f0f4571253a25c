// Streams for the interfaces that have one inside: transforms (GenericTransformStream) and bytes to read. They are made with the constructors
// and the methods as they were before any program ran.

import { getterOf, uncurry } from './primordials.ts';

export interface Transform {
  readonly readable: object;
  readonly writable: object;
}

type Enqueue = (chunk: unknown) => void;

interface Controller {
  enqueue(chunk: unknown): void;
  close(): void;
}
interface Request {
  respond(written: number): void;
}
type Constructor = new (source: object) => object;
interface Streams {
  TransformStream: Constructor;
  TransformStreamDefaultController: { prototype: Controller };
  ReadableStream: Constructor;
  ReadableByteStreamController: { prototype: Controller };
  ReadableStreamBYOBRequest: { prototype: Request };
}

let NativeTransformStream: Constructor | undefined;
let NativeReadableStream: Constructor;
let readableOf: (stream: object) => object;
let writableOf: (stream: object) => object;
let transformEnqueue: (controller: Controller, chunk: unknown) => void;
let bytesEnqueue: (controller: Controller, chunk: Uint8Array) => void;
let bytesClose: (controller: Controller) => void;
let requestOf: (controller: object) => Request | null;
let respond: (request: Request, written: number) => void;

/** A stream whose chunks go through `transform`; `flush` comes when all have. What either throws breaks the stream off. */
export function newTransform(transform: (chunk: unknown, enqueue: Enqueue) => void, flush: (enqueue: Enqueue) => void): Transform {
  const stream = new (NativeTransformStream as Constructor)({
    __proto__: null,
    transform: (chunk: unknown, controller: Controller) => transform(chunk, (piece) => transformEnqueue(controller, piece)),
    flush: (controller: Controller) => flush((piece) => transformEnqueue(controller, piece)),
  });
  return { readable: readableOf(stream), writable: writableOf(stream) };
}

/** A readable byte stream: `next` answers a piece of its own bytes, or undefined at the end. */
export function newByteStream(next: () => Uint8Array | undefined): object {
  return new NativeReadableStream({
    __proto__: null,
    type: 'bytes',
    pull: (controller: Controller) => {
      const bytes = next();
      if (bytes !== undefined) {
        bytesEnqueue(controller, bytes);
        return;
      }
      bytesClose(controller);
      const request = requestOf(controller);
      if (request !== null) respond(request, 0);
    },
  });
}

/** Takes the streams from the global object, where those who install them have put them before. */
export function prepareStreaming(global: object): void {
  if (NativeTransformStream !== undefined) return;
  const streams = global as Streams;
  NativeTransformStream = streams.TransformStream;
  NativeReadableStream = streams.ReadableStream;
  readableOf = getterOf<object>(NativeTransformStream.prototype as object, 'readable');
  writableOf = getterOf<object>(NativeTransformStream.prototype as object, 'writable');
  transformEnqueue = uncurry(streams.TransformStreamDefaultController.prototype.enqueue) as typeof transformEnqueue;
  bytesEnqueue = uncurry(streams.ReadableByteStreamController.prototype.enqueue) as typeof bytesEnqueue;
  bytesClose = uncurry(streams.ReadableByteStreamController.prototype.close) as typeof bytesClose;
  requestOf = getterOf<Request | null>(streams.ReadableByteStreamController.prototype, 'byobRequest');
  respond = uncurry(streams.ReadableStreamBYOBRequest.prototype.respond) as typeof respond;
}

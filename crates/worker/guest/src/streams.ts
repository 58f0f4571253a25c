// Streams: the Streams Standard. The implementation is the library's; here is what the rest of the platform needs of it, taken before any
// program runs.
//
// The build gives the library our own AbortController (build.mjs), so that replacing the global one has no effect on it.

import * as library from 'web-streams-polyfill';
import {
  ByteLengthQueuingStrategy, CountQueuingStrategy, ReadableByteStreamController, ReadableStream, ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest, ReadableStreamDefaultController, ReadableStreamDefaultReader, TransformStream,
  TransformStreamDefaultController, WritableStream, type UnderlyingByteSource, WritableStreamDefaultController,
  WritableStreamDefaultWriter,
} from 'web-streams-polyfill';
import { AsyncIteratorPrototype, getPrototypeOf, getterOf, hasOwn, objectCreate, promiseReject, reflectApply, setPrototypeOf, uncurry } from './primordials.ts';
import { defineInterface, defineValue, isObject, type Class } from './webidl.ts';

export type {
  ReadableByteStreamController, ReadableStreamDefaultController, ReadableStreamDefaultReader, TransformStreamDefaultController,
  UnderlyingByteSource, WritableStreamDefaultWriter,
};
export { ReadableStream, TransformStream, WritableStream };

/** The library's state of a stream, as it names it. */
interface Internals {
  _disturbed: boolean;
  _reader: unknown;
  _readableStreamController: object;
}

export function isReadableStream(value: unknown): value is ReadableStream {
  return isObject(value) && hasOwn(value, '_readableStreamController') && value instanceof ReadableStream;
}

export function isWritableStream(value: unknown): value is WritableStream {
  return isObject(value) && hasOwn(value, '_writableStreamController') && value instanceof WritableStream;
}

export function isTransformStream(value: unknown): value is TransformStream {
  return isObject(value) && hasOwn(value, '_transformStreamController') && value instanceof TransformStream;
}

/** A transform stream with these two sides, which nothing connects but what they do. */
export function joined(readable: ReadableStream, writable: WritableStream): TransformStream {
  const stream = objectCreate(TransformStream.prototype) as Record<string, unknown>;
  stream['_readable'] = readable;
  stream['_writable'] = writable;
  stream['_transformStreamController'] = undefined;
  return stream as unknown as TransformStream;
}

export function isDisturbed(stream: ReadableStream): boolean {
  return (stream as unknown as Internals)._disturbed;
}

export function isLocked(stream: ReadableStream): boolean {
  return (stream as unknown as Internals)._reader !== undefined;
}

export function isByteStream(stream: ReadableStream): boolean {
  return (stream as unknown as Internals)._readableStreamController instanceof ReadableByteStreamController;
}

export const getReader = uncurry(ReadableStream.prototype.getReader as (this: ReadableStream) => ReadableStreamDefaultReader);
export const tee = uncurry(ReadableStream.prototype.tee) as (stream: ReadableStream) => [ReadableStream, ReadableStream];
export const cancelStream = uncurry(ReadableStream.prototype.cancel);
export const pipeThrough = uncurry(ReadableStream.prototype.pipeThrough) as (stream: ReadableStream, pair: object) => ReadableStream;
/** What is done with the next chunk: the standard's read request, as the library names its parts. */
interface ReadRequest {
  _chunkSteps(chunk: unknown): void;
  _closeSteps(): void;
  _errorSteps(reason: unknown): void;
}
// The build exports it from the library (build.mjs).
const readableStreamDefaultReaderRead = (library as unknown as { readableStreamDefaultReaderRead: (reader: ReadableStreamDefaultReader, request: ReadRequest) => void })
  .readableStreamDefaultReaderRead;

/** Reads the next chunk; one of the three is called, perhaps at once. */
export function readChunk(
  reader: ReadableStreamDefaultReader, chunk: (chunk: unknown) => void, closed: () => void, failed: (reason: unknown) => void,
): void {
  readableStreamDefaultReaderRead(reader, { _chunkSteps: chunk, _closeSteps: closed, _errorSteps: failed });
}

export const cancelReader = uncurry(ReadableStreamDefaultReader.prototype.cancel) as (reader: ReadableStreamDefaultReader, reason?: unknown) => Promise<void>;
export const releaseLock = uncurry(ReadableStreamDefaultReader.prototype.releaseLock) as (reader: ReadableStreamDefaultReader) => void;
export const enqueueBytes = uncurry(ReadableByteStreamController.prototype.enqueue);
export const closeBytes = uncurry(ReadableByteStreamController.prototype.close);
export const errorBytes = uncurry(ReadableByteStreamController.prototype.error);
export const enqueue = uncurry(ReadableStreamDefaultController.prototype.enqueue) as (controller: ReadableStreamDefaultController<unknown>, chunk: unknown) => void;
export const close = uncurry(ReadableStreamDefaultController.prototype.close);
export const error = uncurry(ReadableStreamDefaultController.prototype.error);

export const getWriter = uncurry(WritableStream.prototype.getWriter) as (stream: WritableStream) => WritableStreamDefaultWriter;
export const writeChunk = uncurry(WritableStreamDefaultWriter.prototype.write) as (writer: WritableStreamDefaultWriter, chunk: unknown) => Promise<void>;
export const closeWriter = uncurry(WritableStreamDefaultWriter.prototype.close) as (writer: WritableStreamDefaultWriter) => Promise<void>;
export const abortWriter = uncurry(WritableStreamDefaultWriter.prototype.abort) as (writer: WritableStreamDefaultWriter, reason: unknown) => Promise<void>;
export const closedOf = getterOf<Promise<void>>(WritableStreamDefaultWriter.prototype, 'closed');
export const errorWritable = uncurry(WritableStreamDefaultController.prototype.error) as (controller: WritableStreamDefaultController, reason: unknown) => void;
export const isWritableLocked = getterOf<boolean>(WritableStream.prototype, 'locked');
export const readableOf = getterOf<ReadableStream>(TransformStream.prototype, 'readable');
export const writableOf = getterOf<WritableStream>(TransformStream.prototype, 'writable');

/** Where the library says less than the standard. */
function amend(): void {
  // A getter that the standard had once.
  delete (WritableStreamDefaultController.prototype as { abortReason?: unknown }).abortReason;
  // Without its parameter the library rejects with a string.
  const pipeTo = ReadableStream.prototype.pipeTo as (this: unknown, destination: unknown, options: unknown) => Promise<void>;
  const amended = {
    pipeTo(this: unknown, destination: unknown, options: unknown = undefined): Promise<void> {
      if (!isReadableStream(this) || arguments.length === 0) return promiseReject(new TypeError('pipeTo needs a ReadableStream, and a WritableStream to write to'));
      return reflectApply(pipeTo, this, [destination, options]) as Promise<void>;
    },
  };
  defineValue(ReadableStream.prototype, 'pipeTo', amended.pipeTo, true);
  // Its iterators have a Symbol.asyncIterator of their own instead of that which all inherit.
  const iterators = getPrototypeOf(new ReadableStream().values()) as object;
  delete (iterators as { [Symbol.asyncIterator]?: unknown })[Symbol.asyncIterator];
  setPrototypeOf(iterators, AsyncIteratorPrototype);
}

export function install(global: object): void {
  amend();
  const interfaces: Record<string, unknown> = {
    ReadableStream, ReadableStreamDefaultReader, ReadableStreamBYOBReader, ReadableStreamDefaultController, ReadableByteStreamController,
    ReadableStreamBYOBRequest, WritableStream, WritableStreamDefaultWriter, WritableStreamDefaultController, TransformStream,
    TransformStreamDefaultController, ByteLengthQueuingStrategy, CountQueuingStrategy,
  };
  for (const name of Object.keys(interfaces)) defineInterface(global, name, interfaces[name] as Class);
}

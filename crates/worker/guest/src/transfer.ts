// Streams that are transferred: Streams Standard, section 8. Both ends are in this engine, so that no port is needed between them: the stream that
// takes the place of another has a reader or writer of it, and what goes through is cloned on the way.

import { structuredCloneWith, transferables } from './clone.ts';
import { append, promiseReject, promiseThen } from './primordials.ts';
import {
  abortWriter, cancelReader, close, closedOf, closeWriter, enqueue, error, errorWritable, getReader, getWriter, isLocked, isReadableStream,
  isTransformStream, isWritableLocked, isWritableStream, joined, readableOf, readChunk, ReadableStream, type ReadableStreamDefaultController,
  writableOf, WritableStream, writeChunk,
} from './streams.ts';

const NativePromise = Promise;

function cloned(chunk: unknown): unknown {
  return structuredCloneWith(chunk, []).value;
}

/** A reason for an error, or nothing where it cannot be cloned. */
function reasonOf(reason: unknown): unknown {
  try {
    return cloned(reason);
  } catch {
    return undefined;
  }
}

function moveReadable(stream: ReadableStream): ReadableStream {
  const reader = getReader(stream);
  const source = {
    __proto__: null,
    pull: (controller: ReadableStreamDefaultController<unknown>) =>
      new NativePromise<void>((resolve, reject) => {
        const take = (chunk: unknown): void => {
          try {
            enqueue(controller, cloned(chunk));
            resolve();
          } catch (failure) {
            void cancelReader(reader, failure);
            reject(failure);
          }
        };
        const end = (): void => {
          close(controller);
          resolve();
        };
        const fail = (reason: unknown): void => {
          error(controller, reasonOf(reason));
          resolve();
        };
        readChunk(reader, take, end, fail);
      }),
    cancel: (reason: unknown) => cancelReader(reader, reasonOf(reason)),
  };
  return new ReadableStream(source as object, { __proto__: null, highWaterMark: 0 } as object);
}

function moveWritable(stream: WritableStream): WritableStream {
  const writer = getWriter(stream);
  const sink = {
    __proto__: null,
    start: (controller: Parameters<typeof errorWritable>[0]) => {
      promiseThen(closedOf(writer), () => undefined, (reason) => errorWritable(controller, reasonOf(reason)));
    },
    write: (chunk: unknown) => {
      try {
        return writeChunk(writer, cloned(chunk));
      } catch (failure) {
        void abortWriter(writer, failure);
        return promiseReject(failure);
      }
    },
    close: () => closeWriter(writer),
    abort: (reason: unknown) => abortWriter(writer, reasonOf(reason)),
  };
  return new WritableStream(sink as object);
}

export function install(): void {
  append(transferables, {
    is: isReadableStream,
    isFree: (stream) => !isLocked(stream as ReadableStream),
    move: (stream) => moveReadable(stream as ReadableStream),
  });
  append(transferables, {
    is: isWritableStream,
    isFree: (stream) => !isWritableLocked(stream),
    move: (stream) => moveWritable(stream as WritableStream),
  });
  append(transferables, {
    is: isTransformStream,
    isFree: (stream) => !isLocked(readableOf(stream)) && !isWritableLocked(writableOf(stream)),
    move: (stream) => joined(moveReadable(readableOf(stream)), moveWritable(writableOf(stream))),
  });
}

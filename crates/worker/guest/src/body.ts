// Bodies of requests and answers: Fetch Standard, sections 2.2.4, 5.2 and 5.3.
//
// A body is what it was made of (text, bytes), or what the worker has to read, or a stream. The stream is made when a program asks for it, so
// that most bodies never have one. As long as there is none, `used` says whether the bytes were taken.

import { isBlob, bytesOf, newBlob, typeOf, type Blob } from './blob.ts';
import { isFormData, parseFormData, serializeFormData } from './formdata.ts';
import { extractMime, serializeMime } from './mime.ts';
import {
  append, bufferOf, concat, copyOf, isArrayBuffer, isView, jsonParse, newPromise, promiseReject, promiseThen, stringCharCodeAt,
  stringSlice, typedArrayName,
} from './primordials.ts';
import { copyBufferSource, isBufferSource, isObject, toUSVString } from './webidl.ts';
import { isURLSearchParams, pairsOf, serializeUrlencoded } from './url.ts';
import { begin, host } from './worker.ts';
import {
  cancelReader, cancelStream, closeBytes, enqueue, enqueueBytes, close, error as errorStream, errorBytes, getReader, isByteStream,
  isDisturbed, isLocked, isReadableStream, pipeThrough, readChunk, ReadableStream, type ReadableByteStreamController,
  type ReadableStreamDefaultController, tee, TransformStream, type UnderlyingByteSource,
} from './streams.ts';

const NativeUint8Array = Uint8Array;

/** A body that the worker has: of the request, or of what a fetch brought. */
export class Remote {
  readonly id: number;
  #failure: { reason: unknown } | undefined;
  #waiting: ((reason: unknown) => void) | undefined;
  #onError: ((reason: unknown) => void) | undefined;

  constructor(id: number) {
    this.id = id;
  }

  /** The next bytes, or undefined at the end. */
  read(done: (bytes: Uint8Array<ArrayBuffer> | undefined) => void, failed: (reason: unknown) => void): void {
    if (this.#failure !== undefined) {
      failed(this.#failure.reason);
      return;
    }
    this.#waiting = failed;
    begin('read', { of: this.id }, undefined, (error, _json, bytes) => {
      this.#waiting = undefined;
      if (this.#failure !== undefined) return;
      if (error !== undefined) failed(error);
      else done(bytes === undefined ? undefined : new NativeUint8Array(bytes));
    });
  }

  /** Nobody reads on. */
  drop(): void {
    if (this.id !== 0) host.cancel(this.id);
  }

  /** Breaks it off for whoever reads it, as an abort does. */
  fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { reason };
    this.drop();
    this.#waiting?.(reason);
    this.#onError?.(reason);
  }

  onError(action: (reason: unknown) => void): void {
    this.#onError = action;
    if (this.#failure !== undefined) action(this.#failure.reason);
  }
}

export interface Body {
  /** What it was made of: nobody changes the bytes. */
  source: string | Uint8Array<ArrayBuffer> | undefined;
  remote: Remote | undefined;
  stream: ReadableStream | undefined;
  used: boolean;
}

export function bodyOf(source: string | Uint8Array<ArrayBuffer>): Body {
  return { source, remote: undefined, stream: undefined, used: false };
}

export function remoteBody(id: number): Body {
  return { source: undefined, remote: new Remote(id), stream: undefined, used: false };
}

function streamBody(stream: ReadableStream): Body {
  return { source: undefined, remote: undefined, stream, used: false };
}

export function isUsed(body: Body | null): boolean {
  if (body === null) return false;
  return body.stream === undefined ? body.used : isDisturbed(body.stream);
}

export function isUnusable(body: Body | null): boolean {
  if (body === null) return false;
  return body.stream === undefined ? body.used : isDisturbed(body.stream) || isLocked(body.stream);
}

/** What a body may be made of, converted as its union of types is; extracting comes later, in the order of the standard. */
export type BodyInit = ReadableStream | Blob | object | string;

export function toBodyInit(value: unknown): BodyInit {
  if (isObject(value) && (isReadableStream(value) || isBlob(value) || isBufferSource(value) || isFormData(value) || isURLSearchParams(value))) return value;
  return toUSVString(value);
}

export interface Extracted {
  body: Body;
  type: string | undefined;
}

export function extract(init: BodyInit): Extracted {
  if (typeof init === 'string') return { body: bodyOf(init), type: 'text/plain;charset=UTF-8' };
  if (isReadableStream(init)) {
    if (isDisturbed(init) || isLocked(init)) throw new TypeError('The stream is locked, or was read from already');
    return { body: streamBody(init), type: undefined };
  }
  if (isBlob(init)) {
    const type = typeOf(init);
    return { body: bodyOf(bytesOf(init)), type: type === '' ? undefined : type };
  }
  if (isView(init) || isArrayBuffer(init)) return { body: bodyOf(copyBufferSource(init, 'The body')), type: undefined };
  if (isFormData(init)) {
    const { bytes, type } = serializeFormData(init);
    return { body: bodyOf(bytes as Uint8Array<ArrayBuffer>), type };
  }
  if (isURLSearchParams(init)) {
    return { body: bodyOf(serializeUrlencoded(pairsOf(init))), type: 'application/x-www-form-urlencoded;charset=UTF-8' };
  }
  // A SharedArrayBuffer is what is left.
  return { body: bodyOf(copyBufferSource(init, 'The body')), type: undefined };
}

/** Its bytes, if they are all here. */
export function bytesAtHand(body: Body): ArrayBuffer | undefined {
  const source = body.source;
  if (source === undefined || body.stream !== undefined) return undefined;
  return typeof source === 'string' ? host.encode(source) : bufferOf(source);
}

export function streamOf(body: Body): ReadableStream {
  if (body.stream !== undefined) return body.stream;
  if (body.used) {
    const stream = new ReadableStream(nothing, noAhead);
    cancelReader(getReader(stream));
    return (body.stream = stream);
  }
  const { source, remote } = body;
  body.stream = remote === undefined ? sourceStream(source as string | Uint8Array<ArrayBuffer>) : remoteStream(remote);
  body.source = undefined;
  return body.stream;
}

// Nothing is read ahead, so that what nobody reads is never copied. Without a prototype, so that no property of Object.prototype has a say.
const nothing = { __proto__: null } as object;
const oneAhead = { __proto__: null, highWaterMark: 1 } as { highWaterMark: number };
const noAhead = { __proto__: null, highWaterMark: 0 } as { highWaterMark: number };

const PIECE_BYTES_MAX = 65_536;

function sourceStream(source: string | Uint8Array<ArrayBuffer>): ReadableStream {
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  let at = 0;
  const underlying = {
    __proto__: null,
    type: 'bytes' as const,
    pull(controller: ReadableByteStreamController): void {
      bytes ??= typeof source === 'string' ? new NativeUint8Array(host.encode(source)) : source;
      const left = bytes.length - at;
      if (left > 0) {
        const length = left > PIECE_BYTES_MAX ? PIECE_BYTES_MAX : left;
        enqueueBytes(controller, copyOf(new NativeUint8Array(bytes.buffer, bytes.byteOffset + at, length)));
        at += length;
      }
      if (at === bytes.length) finish(controller);
    },
  };
  return new ReadableStream(underlying, noAhead);
}

/** Closes, and answers a reader that waits with a buffer of its own. */
function finish(controller: ReadableByteStreamController): void {
  closeBytes(controller);
  controller.byobRequest?.respond(0);
}

function remoteStream(remote: Remote): ReadableStream {
  const underlying = {
    __proto__: null,
    type: 'bytes' as const,
    start(controller: ReadableByteStreamController): void {
      remote.onError((reason) => errorBytes(controller, reason));
    },
    pull(controller: ReadableByteStreamController): Promise<unknown> {
      return newPromise((resolve, reject) => {
        const next = (): void =>
          remote.read((bytes) => {
            if (bytes === undefined) finish(controller);
            else if (bytes.length > 0) enqueueBytes(controller, bytes);
            else return next();
            resolve(undefined);
          }, reject);
        next();
      });
    },
    cancel(): void {
      remote.drop();
    },
  };
  return new ReadableStream(underlying as UnderlyingByteSource, noAhead);
}

/** Takes the body's contents for another one, and leaves it used: what a Request made of a Request does. */
export function takeOver(body: Body): Body {
  if (body.stream !== undefined) return streamBody(pipeThrough(body.stream, new TransformStream(nothing, oneAhead, noAhead)));
  const taken: Body = { source: body.source, remote: body.remote, stream: undefined, used: false };
  body.used = true;
  return taken;
}

/** "Clone a body". */
export function cloneBody(body: Body): Body {
  if (body.stream === undefined && body.source !== undefined) return bodyOf(body.source);
  const [mine, other] = tee(streamOf(body));
  body.stream = mine;
  // A byte stream's branches have bytes of their own already.
  return streamBody(isByteStream(other) ? other : cloning(other));
}

/** What comes from modules that are evaluated after this one. */
export const later: { structuredClone: (value: unknown, options?: object) => unknown } = { structuredClone: (value) => value };

/** The chunks of a clone are clones, so that neither reader sees what the other does to them. */
function cloning(stream: ReadableStream): ReadableStream {
  const reader = getReader(stream);
  return new ReadableStream(
    {
      __proto__: null,
      pull(controller: ReadableStreamDefaultController<unknown>): Promise<unknown> {
        return newPromise((resolve, reject) => {
          const give = (chunk: unknown): void => {
            try {
              enqueue(controller, later.structuredClone(chunk));
            } catch (reason) {
              errorStream(controller, reason);
              cancelReader(reader, reason);
            }
            resolve(undefined);
          };
          const end = (): void => {
            close(controller);
            resolve(undefined);
          };
          readChunk(reader, give, end, reject);
        });
      },
      cancel: (reason: unknown) => cancelReader(reader, reason),
    } as object,
    noAhead,
  );
}

export function cancelBody(body: Body, reason: unknown): void {
  if (body.stream !== undefined) {
    if (!isLocked(body.stream)) promiseThen(cancelStream(body.stream, reason), ignore, ignore);
  } else {
    body.used = true;
    body.remote?.drop();
  }
}
function ignore(): void {}

type Content = string | Uint8Array<ArrayBuffer>;

/** Reads everything to the end, and calls one of the two, perhaps at once. The body must be usable. */
export function readAll(body: Body, done: (content: Content) => void, failed: (reason: unknown) => void): void {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  if (body.stream === undefined) {
    body.used = true;
    if (body.source !== undefined) {
      done(body.source);
      return;
    }
    const next = (): void =>
      (body.remote as Remote).read((bytes) => {
        if (bytes === undefined) {
          done(pieces.length === 1 ? (pieces[0] as Uint8Array<ArrayBuffer>) : concat(pieces));
          return;
        }
        append(pieces, bytes);
        next();
      }, failed);
    next();
    return;
  }
  const reader = getReader(body.stream);
  let reading = false;
  let more = true;
  const take = (chunk: unknown): void => {
    if (isBytes(chunk)) {
      append(pieces, copyOf(chunk));
      read();
      return;
    }
    const reason = notBytes();
    failed(reason);
    promiseThen(cancelReader(reader, reason), ignore, ignore);
  };
  // Chunks that are there already are given at once; the loop keeps many of them from nesting.
  const read = (): void => {
    more = true;
    if (reading) return;
    reading = true;
    while (more) {
      more = false;
      readChunk(reader, take, () => done(concat(pieces)), failed);
    }
    reading = false;
  };
  read();
}

function isBytes(chunk: unknown): chunk is Uint8Array {
  return isView(chunk) && typedArrayName(chunk) === 'Uint8Array';
}

function notBytes(): TypeError {
  return new TypeError('The stream gave something other than a Uint8Array');
}

/** The chunks of a body, one after the other: `each` settles when it wants the next. Rejects with what the stream broke off with. */
export async function pump(body: Body, each: (bytes: Uint8Array<ArrayBuffer>) => Promise<unknown>): Promise<void> {
  let next: () => Promise<Uint8Array<ArrayBuffer> | undefined>;
  let stop: (reason: unknown) => void;
  if (body.stream === undefined && body.remote !== undefined) {
    const { remote } = body;
    body.used = true;
    next = () => newPromise((resolve, reject) => remote.read(resolve, reject));
    stop = () => remote.drop();
  } else {
    const reader = getReader(streamOf(body));
    next = () =>
      newPromise((resolve, reject) => {
        const take = (chunk: unknown): void => (isBytes(chunk) ? resolve(copyOf(chunk)) : reject(notBytes()));
        readChunk(reader, take, () => resolve(undefined), reject);
      });
    stop = (reason) => promiseThen(cancelReader(reader, reason), ignore, ignore);
  }
  try {
    for (;;) {
      const bytes = await next();
      if (bytes === undefined) return;
      await each(bytes);
    }
  } catch (reason) {
    stop(reason);
    throw reason;
  }
}

// The methods that take a body's contents

/** What a request or an answer is, for the methods that both have. */
export interface BodyOwner {
  body: Body | null;
  /** The value of its Content-Type header. */
  contentType: () => string | null;
}

function consume<T>(owner: BodyOwner, convert: (content: Content) => T): Promise<T> {
  return newPromise((resolve, reject) => {
    const { body } = owner;
    if (isUnusable(body)) throw new TypeError('The body was used already, or its stream is locked');
    const done = (content: Content): void => {
      try {
        resolve(convert(content));
      } catch (error) {
        reject(error);
      }
    };
    if (body === null) done('');
    else readAll(body, done, reject);
  });
}

function textOf(content: Content): string {
  if (typeof content !== 'string') return host.decode('utf-8', bufferOf(content), false, false);
  return stringCharCodeAt(content, 0) === 0xfeff ? stringSlice(content, 1) : content;
}

function ownBytes(content: Content): Uint8Array<ArrayBuffer> {
  return typeof content === 'string' ? new NativeUint8Array(host.encode(content)) : copyOf(content);
}

/** A method that answers a promise, also for what is wrong with its `this`. */
export function promising<T>(method: () => Promise<T>): Promise<T> {
  try {
    return method();
  } catch (error) {
    return promiseReject(error);
  }
}

export const consumers = {
  text: (owner: BodyOwner): Promise<string> => consume(owner, textOf),
  json: (owner: BodyOwner): Promise<unknown> => consume(owner, (content) => jsonParse(textOf(content))),
  bytes: (owner: BodyOwner): Promise<Uint8Array> => consume(owner, ownBytes),
  arrayBuffer: (owner: BodyOwner): Promise<ArrayBuffer> => consume(owner, (content) => bufferOf(ownBytes(content))),
  blob: (owner: BodyOwner): Promise<Blob> =>
    consume(owner, (content) => {
      const mime = extractMime(owner.contentType());
      return newBlob(ownBytes(content), mime === undefined ? '' : serializeMime(mime));
    }),
  formData: (owner: BodyOwner): Promise<object> =>
    consume(owner, (content) => {
      const mime = extractMime(owner.contentType());
      if (mime === undefined) throw new TypeError('The body has no Content-Type that says how a form is written');
      return parseFormData(ownBytes(content), serializeMime(mime));
    }),
};

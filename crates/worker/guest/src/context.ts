// What a handler is given besides its first parameter: `ctx`, the part that `map` works on, and the socket that socket handlers answer on.

import { abortSignal, type AbortSignal, newSignal } from './abort.ts';
import { type Body, type BodyOwner, consumers, isUnusable, isUsed, promising, type Remote, remoteBody, streamOf } from './body.ts';
import type { Caller, Operations } from './host.ts';
import {
  AsyncIteratorPrototype, append, arrayShift, bufferOf, concat, lastIndexOf, markHandled, newPromise, objectCreate, promiseResolve, stringIndexOf, stringSlice,
  subarray,
} from './primordials.ts';
import type { Request } from './request.ts';
import type { ReadableStream } from './streams.ts';
import {
  defineInterface, defineValue, internal, isBufferSource, requireArguments, requireInternal, toBufferSource,
  toUnsignedShort, toUSVString, newDOMException,
} from './webidl.ts';
import { begin, host } from './worker.ts';

// ctx

interface ContextState {
  env: Record<string, string>;
  caller: Caller;
  base: string;
  parameters: Record<string, string>;
  waitUntil: (promise: Promise<unknown>) => void;
}

let stopContext: (context: ExecutionContext) => void;
let inputTo: (context: ExecutionContext, message: string | ArrayBuffer) => void;
let endInput: (context: ExecutionContext) => void;

export class ExecutionContext {
  #state: ContextState;
  #signal: AbortSignal | undefined;
  #stopped = false;
  #messages: (string | ArrayBuffer)[] = [];
  #readers: ((result: IteratorResult<string | ArrayBuffer>) => void)[] = [];
  #ended = false;

  constructor(token: unknown = undefined, state: unknown = undefined) {
    requireInternal(token);
    this.#state = state as ContextState;
  }

  /** The run goes on until the promise is settled, though its answer is sent. */
  waitUntil(promise: unknown): void {
    void this.#state;
    requireArguments(arguments.length, 1, 'ctx.waitUntil');
    this.#state.waitUntil(promiseResolve(promise));
  }

  get env(): Record<string, string> {
    return this.#state.env;
  }
  get caller(): Caller {
    return this.#state.caller;
  }
  get base(): string {
    return this.#state.base;
  }
  /** What the request gave to `map` and `reduce`. */
  get parameters(): Record<string, string> {
    return this.#state.parameters;
  }

  /** Aborts when the process is asked to stop. */
  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      this.#signal = newSignal();
      if (this.#stopped) abortSignal(this.#signal, stopReason());
    }
    return this.#signal;
  }

  /** The messages that are posted to the process, in order: an asynchronous iterator that ends when the process is asked to stop. */
  input(): AsyncIterableIterator<string | ArrayBuffer> {
    void this.#state;
    const iterator = objectCreate(inputPrototype) as { [source]: () => Promise<IteratorResult<string | ArrayBuffer>> };
    iterator[source] = () => this.#nextMessage();
    return iterator as unknown as AsyncIterableIterator<string | ArrayBuffer>;
  }

  /** Adds text or bytes to the output of the process. Settles when there is room for more, so that it can be awaited. */
  write(data: unknown): Promise<void> {
    void this.#state;
    requireArguments(arguments.length, 1, 'ctx.write');
    const binary = isBufferSource(data);
    const bytes = binary ? bufferOf(toBufferSource(data, 'data')) : undefined;
    const params: Operations['output'] = binary ? {} : { text: toUSVString(data) };
    const promise = newPromise<void>((resolve, reject) => {
      begin('output', params, bytes, (failed) => (failed === undefined ? resolve() : reject(failed)));
    });
    markHandled(promise);
    return promise;
  }

  #nextMessage(): Promise<IteratorResult<string | ArrayBuffer>> {
    return newPromise((resolve) => {
      if (this.#messages.length > 0) resolve({ value: arrayShift(this.#messages) as string | ArrayBuffer, done: false });
      else if (this.#ended) resolve({ value: undefined, done: true });
      else append(this.#readers, resolve);
    });
  }

  static {
    stopContext = (context) => {
      context.#stopped = true;
      endInput(context);
      if (context.#signal !== undefined) abortSignal(context.#signal, stopReason());
    };
    inputTo = (context, message) => {
      const reader = arrayShift(context.#readers);
      if (reader === undefined) append(context.#messages, message);
      else reader({ value: message, done: false });
    };
    endInput = (context) => {
      context.#ended = true;
      for (let reader = arrayShift(context.#readers); reader !== undefined; reader = arrayShift(context.#readers)) reader({ value: undefined, done: true });
    };
  }
}

function stopReason(): unknown {
  return newDOMException('The process was asked to stop', 'AbortError');
}

const source = Symbol('source');
const inputPrototype = objectCreate(AsyncIteratorPrototype) as object;
defineValue(
  inputPrototype,
  'next',
  function next(this: { [source]: () => Promise<unknown> }): Promise<unknown> {
    return this[source]();
  },
  true,
);
// Leaving a `for await` loop early leaves the messages to the next one.
defineValue(inputPrototype, 'return', (value: unknown) => promiseResolve({ value, done: true }), true);

export { endInput, inputTo, stopContext };

// part

/** Where a part lies: what `RunParams` says of it. */
export interface PartHead {
  address: string;
  offset: number;
  size: number;
}

/**
 * A part of an input: to be read once, as a whole or as it comes, like the body of a request. What `map` makes of it is kept by its content, and by
 * where it lies only if `map` looks there: the getters tell.
 */
export class Part {
  #head: PartHead;
  #owner: BodyOwner;
  #looked = false;

  constructor(token: unknown = undefined, head: unknown = undefined) {
    requireInternal(token);
    this.#head = head as PartHead;
    this.#owner = { body: remoteBody(0), contentType: () => null };
  }

  #look(): PartHead {
    if (!this.#looked) {
      this.#looked = true;
      begin('look', {}, undefined, () => {});
    }
    return this.#head;
  }

  /** The object that it is a part of. */
  get address(): string {
    return this.#look().address;
  }
  /** The object's byte that it begins with. */
  get offset(): number {
    return this.#look().offset;
  }
  get size(): number {
    return this.#head.size;
  }
  get bodyUsed(): boolean {
    return isUsed(this.#owner.body);
  }

  text(): Promise<string> {
    return promising(() => consumers.text(this.#owner));
  }
  json(): Promise<unknown> {
    return promising(() => consumers.json(this.#owner));
  }
  bytes(): Promise<Uint8Array> {
    return promising(() => consumers.bytes(this.#owner));
  }
  arrayBuffer(): Promise<ArrayBuffer> {
    return promising(() => consumers.arrayBuffer(this.#owner));
  }
  stream(): ReadableStream {
    return streamOf(this.#owner.body as Body);
  }

  /** The lines without their ends, which are LF or CR LF: an asynchronous iterator that holds little more than a line at a time. */
  lines(): AsyncIterableIterator<string> {
    const body = this.#owner.body as Body;
    if (isUnusable(body)) throw new TypeError('The part was read already');
    body.used = true;
    const next = linesOf(body.remote as Remote);
    const iterator = objectCreate(inputPrototype) as { [source]: () => Promise<IteratorResult<string>> };
    iterator[source] = () => newPromise(next);
    return iterator as unknown as AsyncIterableIterator<string>;
  }
}
const NativeUint8Array = Uint8Array;
const LF = 10;

type Step = (resolve: (result: IteratorResult<string>) => void, reject: (reason: unknown) => void) => void;

function linesOf(remote: Remote): Step {
  // Whole lines that are not given out yet, and the bytes after them.
  let text = '';
  let from = 0;
  let rest: Uint8Array<ArrayBuffer>[] = [];
  let first = true;
  let ended = false;
  let reading = false;
  const waiting: (() => void)[] = [];

  const take = (bytes: Uint8Array<ArrayBuffer>): void => {
    append(rest, bytes);
    text = host.decode('utf-8', bufferOf(concat(rest)), false, !first);
    rest = [];
    from = 0;
    first = false;
  };
  const step: Step = (resolve, reject) => {
    if (from < text.length) {
      const end = stringIndexOf(text, '\n', from);
      const to = end < 0 ? text.length : end;
      const line = stringSlice(text, from, end > from && text[to - 1] === '\r' ? to - 1 : to);
      from = to + 1;
      resolve({ value: line, done: false });
    } else if (ended) {
      resolve({ value: undefined, done: true });
    } else {
      read(() => step(resolve, reject), reject);
    }
  };
  const read = (done: () => void, failed: (reason: unknown) => void): void => {
    reading = true;
    const settled = (next: () => void): void => {
      reading = false;
      next();
      while (!reading && waiting.length > 0) (arrayShift(waiting) as () => void)();
    };
    remote.read(
      (bytes) => {
        if (bytes === undefined) {
          ended = true;
          if (rest.length > 0) take(new NativeUint8Array(0));
        } else {
          const end = lastIndexOf(bytes, LF) + 1;
          if (end > 0) take(subarray(bytes, 0, end));
          if (end < bytes.length) append(rest, subarray(bytes, end));
        }
        settled(done);
      },
      (reason) => settled(() => failed(reason)),
    );
  };
  return (resolve, reject) => {
    if (reading) append(waiting, () => step(resolve, reject));
    else step(resolve, reject);
  };
}

export function newPart(head: PartHead): Part {
  return new Part(internal, head);
}

// WebSocket

let closed: (socket: WebSocketServer) => void;
let accept: (socket: WebSocketServer) => void;

/** The socket of a client, as handlers get it. */
export class WebSocketServer {
  #request: Request;
  #readyState = 0;
  #accept: () => void;

  constructor(token: unknown = undefined, request: unknown = undefined, onAccept: unknown = undefined) {
    requireInternal(token);
    this.#request = request as Request;
    this.#accept = onAccept as () => void;
  }

  /** The handshake's request. */
  get request(): Request {
    return this.#request;
  }
  get readyState(): number {
    return this.#readyState;
  }

  /**
   * Settles when there is room for more, so that a handler can await it. A closed socket drops what is sent, as the standard has it; one that is
   * still opening is accepted by it.
   */
  send(data: unknown): Promise<void> {
    void this.#readyState;
    requireArguments(arguments.length, 1, 'ws.send');
    const binary = isBufferSource(data);
    const bytes = binary ? bufferOf(toBufferSource(data, 'data')) : undefined;
    const params: Operations['socketSend'] = binary ? {} : { text: toUSVString(data) };
    accept(this);
    if (this.#readyState !== 1) return promiseResolve(undefined);
    const promise = newPromise<void>((resolve, reject) => {
      begin('socketSend', params, bytes, (failed) => (failed === undefined ? resolve() : reject(failed)));
    });
    markHandled(promise);
    return promise;
  }

  close(code: unknown = undefined, reason: unknown = undefined): void {
    void this.#readyState;
    const params: Operations['socketClose'] = {};
    if (code !== undefined) {
      params.code = toUnsignedShort(code, 'clamp');
      if (params.code !== 1000 && (params.code < 3000 || params.code > 4999)) {
        throw newDOMException(`The code of a close is 1000 or between 3000 and 4999, not ${params.code}`, 'InvalidAccessError');
      }
    }
    if (reason !== undefined) {
      params.reason = toUSVString(reason);
      if (host.encode(params.reason).byteLength > 123) throw newDOMException('The reason of a close has more than 123 bytes', 'SyntaxError');
    }
    accept(this);
    if (this.#readyState !== 1) return;
    this.#readyState = 2;
    begin('socketClose', params, undefined, () => {});
  }

  static {
    accept = (socket) => {
      if (socket.#readyState !== 0) return;
      socket.#readyState = 1;
      socket.#accept();
    };
    closed = (socket) => {
      socket.#readyState = 3;
    };
  }
}

export { accept, closed };

export function newSocket(request: Request, onAccept: () => void): WebSocketServer {
  return new WebSocketServer(internal, request, onAccept);
}

export function newContext(state: ContextState): ExecutionContext {
  return new ExecutionContext(internal, state);
}

/** They are on no global: programs meet the objects only. */
export function install(global: object): void {
  defineInterface(global, 'ExecutionContext', ExecutionContext, { global: false });
  defineInterface(global, 'Part', Part, { global: false });
  defineInterface(global, 'WebSocket', WebSocketServer, { global: false, constants: { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 } });
}

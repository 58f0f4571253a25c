// One socket to a node: calls, notifications and bodies side by side (docs/live.md, "Sockets").
//
// Invariants: a connection that has ended rejects every call and fails every body that was under way, and is never opened again; what an
// answer begins (a watch, a body) is known before the next message is looked at.

import { type Body, sendable, typeOf } from './body.js';
import { type ConnectionError, JsfsError, readProblem, socketEnded } from './error.js';
import { decodeFrame } from './frames.js';
import type { Http } from './http.js';
import { type Metadata, StoredObject, type WireHead, type WireMetadata, readHead, readMetadata } from './object.js';
import { type AppendOptions, type Cancellable, type GetOptions, type PutOptions, rangeText, textOf } from './options.js';
import { type BodyStream, IncomingBody, OutgoingBody } from './streams.js';
import { abortable } from './waiting.js';
import type { WebSocketConstructor, WebSocketLike } from './websocket.js';

const PROTOCOL = 'jsfs.v1';
/** A connection on which nothing came for this long is asked whether it still is one; after as long again it is taken for broken. */
const SILENCE_MS = 30_000;

/** Parameters of a call: what is undefined is left out. */
export type Params = Record<string, unknown>;

type Notified = (method: string, params: Params) => void;

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
  /** Called with the result before any other message is looked at. */
  begin: ((result: Params) => void) | undefined;
}

/** @internal */
export interface ConnectionOptions extends Cancellable {
  WebSocket: WebSocketConstructor;
  onNotification?: Notified;
}

/** An open socket with the client's credential. Made by `Jsfs.connect`. */
export class Connection {
  /** Resolves when the connection has ended, whoever ended it, with the reason. */
  readonly closed: Promise<ConnectionError>;
  readonly #http: Http;
  readonly #socket: WebSocketLike;
  readonly #onNotification: Notified;
  readonly #calls = new Map<number, Pending>();
  readonly #bodies = new Map<number, BodyStream>();
  #end: ConnectionError | undefined;
  #ended!: (error: ConnectionError) => void;
  #lastCall = 0;
  /** The number of the last body that went out; they are odd. */
  #lastBody = -1;
  #heardAt = Date.now();

  private constructor(http: Http, socket: WebSocketLike, { onNotification }: ConnectionOptions) {
    this.#http = http;
    this.#socket = socket;
    this.#onNotification = onNotification ?? (() => undefined);
    this.closed = new Promise((resolve) => (this.#ended = resolve));
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => this.#take(data));
    socket.addEventListener('close', ({ code, reason }) => this.#over(socketEnded(code, reason)));
    // What went wrong is told by the close event that follows.
    socket.addEventListener('error', () => undefined);
    const timer = setInterval(() => this.#checkSilence(), SILENCE_MS);
    void this.closed.then(() => clearInterval(timer));
  }

  /** Opens a socket and presents the credential. @internal */
  static async open(http: Http, options: ConnectionOptions): Promise<Connection> {
    const { signal } = options;
    signal?.throwIfAborted();
    const url = http.url('/');
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = new options.WebSocket(url.href, [PROTOCOL]);
    const connection = new Connection(http, socket, options);
    const opened = new Promise<void>((resolve) => socket.addEventListener('open', () => resolve()));
    const abort = (): void => connection.close();
    signal?.addEventListener('abort', abort);
    try {
      await Promise.race([opened, connection.closed.then((error) => Promise.reject(error))]);
      const { key, token } = http.credential;
      if (key !== undefined || token !== undefined) {
        await connection.call('authenticate', { access_key: key, access_token: token });
      }
      return connection;
    } catch (error) {
      connection.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /**
   * Calls a method of docs/live.md, "Calls". Calls run side by side: who needs an order awaits the answer. Bodies in streams have
   * {@link get}, {@link put} and {@link append}; to follow changes there is `Jsfs.watch`.
   *
   * Rejects with a {@link JsfsError} where the node refuses, with a {@link ConnectionError} where the connection ends before the answer, with
   * the signal's reason where that is aborted; the node carries the call out all the same.
   */
  call(method: string, params: Params = {}, { signal }: Cancellable = {}): Promise<unknown> {
    return this.#call(method, params, signal);
  }

  /** Fetches an object. Its bytes come as they are taken: a slow reader holds up nothing else on this connection. */
  async get(path: string, { version, range, signal }: GetOptions = {}): Promise<StoredObject> {
    let body: IncomingBody | undefined;
    const params = { path: this.#path(path), version, range: range && rangeText(range) };
    const head = await this.#call('get', params, signal, ({ stream }) => {
      if (typeof stream === 'number') body = this.#receive(stream, signal);
    });
    const { info, range: given } = readHead(head as WireHead, this.#http.url(path).href);
    return new StoredObject(info, given, new Response(body?.readable ?? null, { headers: { 'content-type': info.contentType } }));
  }

  /** Stores an object, or a new version of it. A stream is sent as it comes, in browsers too. */
  put(path: string, body: Body, options: PutOptions = {}): Promise<Metadata> {
    return this.#write('put', path, body, options, { replacement_access_key: textOf(options.replacementKey) });
  }

  /** Adds to the end of an object, or creates it. */
  append(path: string, body: Body, options: AppendOptions = {}): Promise<Metadata> {
    return this.#write('append', path, body, options, {});
  }

  /** Ends the connection. Calls and bodies that are under way fail. */
  close(): void {
    this.#socket.close(1000);
    this.#over(socketEnded(1000, 'closed by this side'));
  }

  /** As {@link call}; `begin` sees the result before the next message is looked at. @internal */
  async watch(path: string, since: string | undefined, begin: (result: Params) => void): Promise<void> {
    await this.#call('watch', { path: this.#path(path), since }, undefined, begin);
  }

  async #call(method: string, params: Params, signal?: AbortSignal, begin?: (result: Params) => void): Promise<unknown> {
    signal?.throwIfAborted();
    if (this.#end) throw this.#end;
    const id = (this.#lastCall += 1);
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    const answer = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, begin }));
    return abortable(answer, signal);
  }

  async #write(method: string, path: string, body: Body, options: AppendOptions, more: Params): Promise<Metadata> {
    const { contentType, onProgress, signal } = options;
    signal?.throwIfAborted();
    const stream = (this.#lastBody += 2);
    const { data, length } = sendable(body);
    const outgoing = new OutgoingBody(stream, (message) => this.#send(message), onProgress && ((sent) => onProgress({ sent, total: length })));
    this.#bodies.set(stream, outgoing);
    const params = {
      path: this.#path(path),
      stream,
      content_type: contentType ?? typeOf(body),
      private: options.private,
      if_match: options.ifMatch,
      if_none_match: options.ifNoneMatch,
      ...more,
    };
    try {
      const answer = this.#call(method, params, signal);
      const bytes = data instanceof ReadableStream ? data : new Blob([data]).stream();
      // Whichever comes first: a refusal ends the body, a body that fails ends the wait for an answer.
      const sent = outgoing.send(bytes).then(() => answer);
      return readMetadata((await Promise.race([answer, sent])) as WireMetadata);
    } finally {
      if (signal?.aborted) outgoing.giveUp();
      outgoing.stop();
      this.#bodies.delete(stream);
    }
  }

  #receive(stream: number, signal: AbortSignal | undefined): IncomingBody {
    const abort = (): void => body.giveUp(signal?.reason);
    const body = new IncomingBody(stream, (message) => this.#send(message), () => {
      this.#bodies.delete(stream);
      signal?.removeEventListener('abort', abort);
    });
    this.#bodies.set(stream, body);
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    return body;
  }

  #send(message: Uint8Array<ArrayBuffer>): void {
    if (!this.#end) this.#socket.send(message);
  }

  // The socket's own base is the node; a path in a call is plain text.
  #path(path: string): string {
    return decodeURIComponent(this.#http.url(path).pathname);
  }

  #take(data: unknown): void {
    this.#heardAt = Date.now();
    if (typeof data === 'string') this.#takeText(data);
    else if (data instanceof ArrayBuffer) this.#takeFrame(data);
  }

  #takeText(message: string): void {
    const { id, method, params, result, error } = parse(message);
    if (typeof method === 'string') return this.#onNotification(method, (params ?? {}) as Params);
    const pending = this.#calls.get(Number(id));
    if (!pending) return;
    this.#calls.delete(Number(id));
    if (error !== undefined) return pending.reject(errorOf(error as Params));
    pending.begin?.(result as Params);
    pending.resolve(result);
  }

  #takeFrame(message: ArrayBuffer): void {
    const frame = decodeFrame(message);
    if (frame) this.#bodies.get(frame.stream)?.take(frame);
  }

  #checkSilence(): void {
    const silentMs = Date.now() - this.#heardAt;
    if (silentMs >= 2 * SILENCE_MS) {
      this.#over(socketEnded(1006, 'the node is silent'));
      this.#socket.close();
    } else if (silentMs >= SILENCE_MS) {
      this.#call('ping', {}).catch(() => undefined);
    }
  }

  #over(error: ConnectionError): void {
    if (this.#end) return;
    this.#end = error;
    for (const { reject } of this.#calls.values()) reject(error);
    for (const body of [...this.#bodies.values()]) body.fail(error);
    this.#calls.clear();
    this.#bodies.clear();
    this.#ended(error);
  }
}

// What is no JSON is no message of ours, and answers nothing.
function parse(message: string): Params {
  try {
    return JSON.parse(message) as Params;
  } catch {
    return {};
  }
}

function errorOf({ code, message, data }: Params): JsfsError {
  const status = Number(code) > 0 ? Number(code) : 400;
  const problem = readProblem(data, status);
  return new JsfsError(problem.type === 'about:blank' && typeof message === 'string' ? { ...problem, title: message } : problem);
}

// Following changes: one socket for all watches of a client, opened again and again for as long as somebody watches.
//
// Invariants: a watch hands out events in the order of the node's log and leaves none out. After the connection was lost it goes on from the
// last event that it was sent. Of what nobody has taken yet a watch keeps QUEUE_MAX events; then it lets the node keep the rest, and asks for
// it when these are taken.

import { Connection, type Params } from './connection.js';
import { ConnectionError, JsfsError, readProblem } from './error.js';
import type { Http } from './http.js';
import type { Cancellable } from './options.js';
import { Backoff } from './waiting.js';
import { type WebSocketConstructor, webSocketOr } from './websocket.js';

/** Events that a watch keeps for a consumer who is slow. */
const QUEUE_MAX = 1_000;

/** A change that the node has accepted. */
export interface Change {
  /** What happened; `access` where an owner or a policy changed. What was `moved` is `deleted` at the address where it was. */
  kind: 'created' | 'updated' | 'deleted' | 'moved' | 'access';
  /** Where to go on after this event. */
  cursor: string;
  /** When it was accepted. */
  time: Date;
  /** Of the object; of the directory where its owner or policy changed. */
  address: string;
  /** With `moved`: where it came from. */
  from?: string;
  /** The version that the change made; not of directories, and not of what is `deleted` because this watcher may not see it any more. */
  version?: number;
  /** Whether that version needs a credential to be read. */
  private?: boolean;
  /** Bytes of that version, where it still exists. */
  size?: number;
  /** Its entity tag, without quotes. */
  etag?: string;
  /** Its media type. */
  contentType?: string;
}

/** The node's log does not reach back to the cursor: what is there must be listed again. Changes after this follow. */
export interface Reset {
  kind: 'reset';
  cursor: string;
}

export type WatchEvent = Change | Reset;

export interface WatchOptions extends Cancellable {
  /** The cursor of the last event that was handled; absent: changes from now on. */
  since?: string;
}

/**
 * Changes of an object, or of everything below a directory, in order, each at least once. Made by `Jsfs.watch`; iterate over it once.
 *
 * A lost connection is not noticed here: it is opened again, for as long as it takes, and nothing is missed. The iteration ends when it is
 * left, and throws a {@link JsfsError} where the node refuses or the credential has run out, or the reason of the signal.
 */
export class Watch implements AsyncIterableIterator<WatchEvent, undefined> {
  /** Resolves when the node has begun to watch: every change from then on will come. */
  readonly ready: Promise<void>;
  /** @internal */
  readonly path: string;
  readonly #live: Live;
  readonly #queue: WatchEvent[] = [];
  /** The cursor of the last event that came, handled or not. */
  #received: string | undefined;
  #handled: string | undefined;
  /** The event that the consumer is handling. */
  #current: WatchEvent | undefined;
  /** Why there will be no more; undefined in it: because nobody wants more. */
  #end: { error: unknown } | undefined;
  #isPaused = false;
  #wake: () => void = () => undefined;
  #forgetSignal: () => void;
  #isReady!: () => void;
  #isNeverReady!: (error: unknown) => void;

  /** @internal */
  constructor(live: Live, path: string, { since, signal }: WatchOptions) {
    this.#live = live;
    this.path = path;
    this.#received = since;
    this.#handled = since;
    this.ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#isNeverReady = reject;
    });
    // Who only iterates hears of a failure there.
    this.ready.catch(() => undefined);
    signal?.throwIfAborted();
    live.add(this);
    const abort = (): void => this.#stop(signal?.reason);
    signal?.addEventListener('abort', abort);
    this.#forgetSignal = () => signal?.removeEventListener('abort', abort);
  }

  /**
   * The cursor of the last event that was handled: one is when the next is asked for. Store it, and pass it as `since` to go on after a
   * reload. Undefined until the node has begun to watch.
   */
  get cursor(): string | undefined {
    return this.#handled;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchEvent, undefined>> {
    this.#handled = this.#current?.cursor ?? this.#handled;
    this.#current = undefined;
    while (this.#queue.length === 0 && !this.#end) await new Promise<void>((resolve) => (this.#wake = resolve));
    const event = this.#take();
    if (event) return { done: false, value: event };
    if (this.#end?.error !== undefined) throw this.#end.error;
    return { done: true, value: undefined };
  }

  /** Stops watching; `break` in a `for await` does it. */
  async return(): Promise<IteratorResult<WatchEvent, undefined>> {
    this.#stop(undefined);
    return { done: true, value: undefined };
  }

  /** The events that have come and were not taken, as if each had been asked for. @internal */
  *arrived(): Generator<WatchEvent, void, undefined> {
    for (let event = this.#take(); event; event = this.#take()) yield event;
  }

  /** Where the node is to begin. @internal */
  get since(): string | undefined {
    return this.#received;
  }

  /** Whether the node is to keep what comes for the moment. @internal */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** The node has begun to watch, from a cursor on. @internal */
  begun(cursor: string): void {
    this.#received ??= cursor;
    this.#handled ??= cursor;
    this.#isReady();
  }

  /** Takes an event from the node; false where it has to keep the next ones. @internal */
  push(event: WatchEvent): boolean {
    this.#queue.push(event);
    this.#received = event.cursor;
    this.#isPaused = this.#queue.length >= QUEUE_MAX;
    this.#wake();
    return !this.#isPaused;
  }

  /** There will be no more. @internal */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#forgetSignal();
    this.#isNeverReady(error);
    this.#wake();
  }

  #take(): WatchEvent | undefined {
    const event = this.#queue.shift();
    if (event) this.#current = event;
    if (this.#isPaused && this.#queue.length === 0 && !this.#end) {
      this.#isPaused = false;
      this.#live.resume(this);
    }
    return event;
  }

  #stop(reason: unknown): void {
    this.#queue.length = 0;
    this.fail(reason);
    this.#live.remove(this);
  }
}

/** The watches of a client and the socket that they share. @internal */
export class Live {
  readonly #http: Http;
  readonly #WebSocket: WebSocketConstructor | undefined;
  readonly #watches = new Set<Watch>();
  /** By what the node calls them, on the present connection. */
  readonly #begun = new Map<string, Watch>();
  readonly #backoff = new Backoff();
  #connection: Connection | undefined;
  #isRunning = false;
  /** Ends a wait between two connections, when nobody watches any more. */
  #idle = new AbortController();

  constructor(http: Http, WebSocket: WebSocketConstructor | undefined) {
    this.#http = http;
    this.#WebSocket = WebSocket;
  }

  add(watch: Watch): void {
    const WebSocket = webSocketOr(this.#WebSocket);
    this.#watches.add(watch);
    if (this.#connection) void this.#begin(this.#connection, watch);
    else if (!this.#isRunning) void this.#run(WebSocket);
  }

  remove(watch: Watch): void {
    this.#watches.delete(watch);
    this.#unwatch(watch);
    if (this.#watches.size > 0) return;
    this.#connection?.close();
    this.#idle.abort();
  }

  /** Begins again with a watch that had been paused. */
  resume(watch: Watch): void {
    if (this.#connection) void this.#begin(this.#connection, watch);
  }

  // Keeps a connection for as long as somebody watches.
  async #run(WebSocket: WebSocketConstructor): Promise<void> {
    this.#isRunning = true;
    while (this.#watches.size > 0) {
      this.#idle = new AbortController();
      const ended = await this.#connect(WebSocket).catch((error: unknown) => error);
      if (this.#idle.signal.aborted) continue;
      if (isFinal(ended)) this.#fail(ended);
      else await this.#backoff.failed(this.#idle.signal, secondsToWait(ended)).catch(() => undefined);
    }
    this.#isRunning = false;
  }

  // One connection, from its beginning to its end; resolves or rejects with why it ended.
  async #connect(WebSocket: WebSocketConstructor): Promise<unknown> {
    const onNotification = (method: string, params: Params): void => this.#take(method, params);
    const connection = await Connection.open(this.#http, { WebSocket, onNotification, signal: this.#idle.signal });
    this.#connection = connection;
    for (const watch of this.#watches) void this.#begin(connection, watch);
    const ended = await connection.closed;
    this.#connection = undefined;
    this.#begun.clear();
    return ended;
  }

  // Lets the node watch. Where it has no room for the moment it is asked again, for as long as the connection lasts.
  async #begin(connection: Connection, watch: Watch): Promise<void> {
    const backoff = new Backoff();
    while (this.#connection === connection && this.#watches.has(watch) && !watch.isPaused) {
      try {
        return await connection.watch(watch.path, watch.since, (result) => this.#began(watch, result));
      } catch (error) {
        // Without the connection the watch begins again on the next.
        if (error instanceof ConnectionError) return;
        if (isFinal(error)) return this.#end(watch, error);
        await backoff.failed();
      }
    }
  }

  #began(watch: Watch, { watch: name, cursor }: Params): void {
    this.#backoff.succeeded();
    this.#begun.set(String(name), watch);
    watch.begun(String(cursor));
    if (!this.#watches.has(watch)) this.#unwatch(watch);
  }

  #take(method: string, { watch: name, ...params }: Params): void {
    const watch = this.#begun.get(String(name));
    if (!watch) return;
    if (method === 'ended') {
      this.#begun.delete(String(name));
      this.#end(watch, new JsfsError(readProblem(params['error'], 500)));
    }
    if (method !== 'event' && method !== 'reset') return;
    const goesOn = watch.push(method === 'event' ? readChange(params as unknown as WireChange) : { kind: 'reset', cursor: String(params['cursor']) });
    if (!goesOn) this.#unwatch(watch);
  }

  #end(watch: Watch, error: unknown): void {
    watch.fail(error);
    this.remove(watch);
  }

  #fail(error: unknown): void {
    for (const watch of [...this.#watches]) this.#end(watch, error);
  }

  #unwatch(watch: Watch): void {
    for (const [name, begun] of this.#begun) {
      if (begun !== watch) continue;
      this.#begun.delete(name);
      this.#connection?.call('unwatch', { watch: name }).catch(() => undefined);
    }
  }
}

// What waiting would not change.
function isFinal(error: unknown): boolean {
  if (error instanceof ConnectionError) return error.code === 4401 || error.code === 4403;
  return !(error instanceof JsfsError && error.status === 503);
}

// A node that stops says when to come back: `retry in 5 s`.
function secondsToWait(error: unknown): number {
  if (error instanceof JsfsError) return error.retryAfterSeconds ?? 0;
  return error instanceof ConnectionError ? Number(/retry in (\d+) s/.exec(error.reason)?.[1] ?? 0) : 0;
}

interface WireChange {
  kind: Change['kind'];
  cursor: string;
  time: string;
  address: string;
  from?: string;
  version?: number;
  private?: boolean;
  size?: number;
  etag?: string;
  type?: string;
}

function readChange({ time, type, ...same }: WireChange): Change {
  return { ...same, time: new Date(time), ...(type !== undefined && { contentType: type }) };
}

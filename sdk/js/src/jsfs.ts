// The client of a node: one method per thing that docs/http.md offers.
//
// Invariants: a method sends one request and nothing is tried again, unless its description says so; what a method leaves out of its options
// stays as it is on the node.

import { addressOf } from './address.js';
import { type Body, sendable, typeOf } from './body.js';
import { Connection } from './connection.js';
import { Http, type Request, quoted } from './http.js';
import { type Entry, type ObjectEntry, type Page, type Policy, type WirePage, readPage } from './listing.js';
import { Live, Watch, type WatchOptions } from './live.js';
import { mirror } from './mirror.js';
import {
  type Metadata,
  type ObjectInfo,
  StoredObject,
  type Tree,
  type Version,
  type WireMetadata,
  type WireVersion,
  readInfo,
  readMetadata,
  readRange,
  readVersion,
} from './object.js';
import {
  type AppendOptions,
  type Cancellable,
  type ChangeOptions,
  type ConditionalGetOptions,
  type CopyOptions,
  type DeleteOptions,
  type GetOptions,
  type HeadOptions,
  type JsfsOptions,
  type ListOptions,
  type PageOptions,
  type PropertyChange,
  type PutOptions,
  type RequestOptions,
  type TokenOptions,
  rangeText,
  textOf,
} from './options.js';
import type { ReadKey } from './read_key.js';
import { AccessToken } from './token.js';
import { type Sliceable, Upload, type UploadOptions, type Uploaded } from './upload.js';
import { type WebSocketConstructor, webSocketOr } from './websocket.js';

/**
 * A node, and with which credential to talk to it.
 *
 * Paths are text as people write it, not escaped: `/docs/année.txt` at the host of the URL, `docs/a.txt` relative to it,
 * `/.com.example/a.txt` in any namespace. A path that ends in `/` is a directory.
 *
 * Every method that talks to the node rejects with a {@link JsfsError} where it refuses: 404 for what is not there or may not be known, 401
 * and 403 for what the credential does not cover, 412 for a condition that does not hold. Where no answer comes they reject with a
 * {@link ConnectionError}.
 */
export class Jsfs {
  readonly #http: Http;
  readonly #live: Live;
  readonly #WebSocket: WebSocketConstructor | undefined;

  constructor({ url, key, token, fetch, WebSocket }: JsfsOptions = {}) {
    const base = url ?? globalThis.location?.origin;
    if (base === undefined) throw new TypeError('there is no page here to take the origin from; pass url');
    const text = { key: textOf(key), token: textOf(token) };
    this.#http = new Http(new URL(base), text, fetch);
    this.#live = new Live(this.#http, WebSocket);
    this.#WebSocket = WebSocket;
  }

  /** The URL of the node or directory, as it was given. */
  get url(): string {
    return this.#http.base.href;
  }

  /** The address of a path, its one name in every namespace: `/localhost/docs/a.txt`. An {@link InvalidError} where it can have none. */
  address(path: string): string {
    return addressOf(this.#http.url(path));
  }

  /** Stores an object, or a new version of it. Resolves once it is on the node's disk. For much data see {@link upload}. */
  async put(path: string, body: Body, options: PutOptions = {}): Promise<Metadata> {
    const headers = { 'x-replacement-access-key': textOf(options.replacementKey) };
    return this.#write(path, body, options, headers);
  }

  /** Adds to the end of an object, or creates it. */
  async append(path: string, body: Body, options: AppendOptions = {}): Promise<Metadata> {
    return this.#write(path, body, options, { 'x-append': 'true' });
  }

  /**
   * Stores an object of any size, in pieces. What breaks on the way is tried again, for about a minute and a half without success, and goes
   * on where the node has got to. The object is there, or replaced, in one step at the end.
   *
   * Rejects with a {@link JsfsError} of 404 or 410 where the upload that {@link UploadOptions.resume} names has expired.
   */
  async upload(path: string, body: Exclude<Body, ReadableStream> | Sliceable, options: UploadOptions = {}): Promise<Uploaded> {
    return new Upload(this.#http, path, body, options).run();
  }

  /** Forgets an upload that was not completed, by its URL. */
  async discardUpload(url: string, { signal }: Cancellable = {}): Promise<void> {
    await this.#http.send({ method: 'DELETE', path: this.#http.own(url), headers: { 'tus-resumable': '1.0.0' }, signal });
  }

  /**
   * Fetches an object. With `ifNoneMatch` it is null where that version is still the current one.
   *
   * The path of a directory gives its `index.html`; for its entries see {@link list}.
   */
  get(path: string, options: ConditionalGetOptions): Promise<StoredObject | null>;
  get(path: string, options?: GetOptions): Promise<StoredObject>;
  async get(path: string, options: GetOptions & { ifNoneMatch?: string } = {}): Promise<StoredObject | null> {
    const { version, range, ifNoneMatch, signal } = options;
    const headers = { range: range && `bytes=${rangeText(range)}`, 'if-none-match': quoted(ifNoneMatch) };
    const response = await this.#http.send({ method: 'GET', path, query: { version }, headers, signal });
    return response.status === 304 ? null : new StoredObject(readInfo(response), readRange(response), response);
  }

  /** What is known of an object, without its bytes. */
  async head(path: string, { version, signal }: HeadOptions = {}): Promise<ObjectInfo> {
    // Browsers ask for a compressed answer all the same: then the size is not told.
    const headers = { 'accept-encoding': 'identity' };
    return readInfo(await this.#http.send({ method: 'HEAD', path, query: { version }, headers, signal }));
  }

  /** Changes properties of an object, or the policy of a directory. */
  async patch(path: string, change: PropertyChange, options: ChangeOptions = {}): Promise<void> {
    const { contentType, replacementKey, ...same } = change;
    const document = { ...same, content_type: contentType, replacement_access_key: textOf(replacementKey) };
    await this.#send('PATCH', path, options, { body: sendable(JSON.stringify(document)), headers: JSON_BODY });
  }

  /** Deletes an object, or everything below a directory in one step. Versions are kept for as long as the policy says. */
  async delete(path: string, options: DeleteOptions = {}): Promise<void> {
    await this.#send('DELETE', path, options, { query: { purge: options.purge } });
  }

  /** Copies an object or a tree. No bytes move. `destination` is a path as any other. Null where something was replaced. */
  copy(path: string, destination: string, options: CopyOptions = {}): Promise<Metadata | Tree | null> {
    return this.#carry('COPY', path, destination, options);
  }

  /** Moves an object or a tree. No bytes move. Null where something was replaced. */
  move(path: string, destination: string, options: CopyOptions = {}): Promise<Metadata | Tree | null> {
    return this.#carry('MOVE', path, destination, options);
  }

  /** The versions of an object, newest first. */
  async versions(path: string, { signal }: Cancellable = {}): Promise<Version[]> {
    const response = await this.#http.send({ method: 'GET', path, query: { versions: '' }, signal });
    return (await read<{ versions: WireVersion[] }>(response)).versions.map(readVersion);
  }

  /** Makes an earlier version the current one again, as a new version. */
  async restore(path: string, version: number, options: ChangeOptions = {}): Promise<Metadata> {
    return readMetadata(await read(await this.#send('POST', path, options, { query: { restore: version } })));
  }

  /** The entries of a directory, in the order of their names. Pages are fetched as they are needed. */
  async *list(path: string, options: ListOptions = {}): AsyncGenerator<Entry, void, undefined> {
    let page = await this.listPage(path, options);
    yield* page.entries;
    while (page.next !== null) {
      page = await this.listPage(path, { ...options, after: page.next });
      yield* page.entries;
    }
  }

  /** One page of a directory. */
  async listPage(path: string, { recursive, limit, after, signal }: PageOptions = {}): Promise<Page> {
    const query = { recursive, limit, after };
    const headers = { accept: 'application/json' };
    return readPage(await read<WirePage>(await this.#http.send({ method: 'GET', path: asDirectory(path), query, headers, signal })));
  }

  /** What holds in a directory; needs its key. */
  async properties(path: string, { signal }: Cancellable = {}): Promise<Policy> {
    return read(await this.#http.send({ method: 'GET', path: asDirectory(path), query: { properties: '' }, signal }));
  }

  /**
   * Lets the node make a token; needs the key of the path. With a generated key in hand {@link AccessKey.mint} needs no node; this is the
   * way for keys that a person chose.
   */
  async createToken(path: string, { methods, expires, signal }: TokenOptions = {}): Promise<AccessToken> {
    const end = expires && { expires: Math.floor(expires.getTime() / 1_000) };
    const document = { address: this.address(path), methods: methods ?? ['GET'], ...end };
    return AccessToken.parse((await read<{ token: string }>(await this.#interface('tokens', document, signal))).token);
  }

  /** Withdraws a token, whoever has it; needs the key that made it. */
  async revokeToken(token: AccessToken | string, { signal }: Cancellable = {}): Promise<void> {
    const { subject, publicText } = typeof token === 'string' ? await AccessToken.parse(token) : token;
    await this.#interface('revocations', { address: subject, token: publicText }, signal);
  }

  /**
   * The read key of a path, which lets {@link AccessKey.mint} make tokens that open what is private there and below. Needs the key of the
   * path. Asked for once it holds until the owner changes.
   */
  async readKey(path: string, { signal }: Cancellable = {}): Promise<ReadKey> {
    const expires = new Date(Date.now() + 60_000);
    const token = await this.createToken(path, { methods: ['GET'], expires, ...(signal && { signal }) });
    if (!token.readKey) throw new TypeError(`the node made a token without a read key for ${token.subject}`);
    return token.readKey;
  }

  /**
   * Follows the changes of an object, or of everything below a directory: `for await (const event of jsfs.watch('/docs/'))`. All watches of a
   * client share one socket. Without a credential a watch covers what is public.
   */
  watch(path: string, options: WatchOptions = {}): Watch {
    return new Watch(this.#live, path, options);
  }

  /**
   * The objects below a directory by their names relative to it, first as they are and again after every change:
   * `for await (const entries of jsfs.mirror('/messages/')) render(entries)`. It is the same map each time, kept up to date; changes that
   * come while it is being rendered are shown together. `sha256` is null in entries that have changed since the beginning.
   */
  mirror(path: string, options: Cancellable = {}): AsyncGenerator<ReadonlyMap<string, ObjectEntry>, void, undefined> {
    return mirror(this, asDirectory(path), options);
  }

  /**
   * Opens a socket for calls and bodies: for many small ones, or for storing streams from a browser. Rejects with a
   * {@link ConnectionError} where that fails. It is not opened again when it ends.
   */
  async connect({ signal }: Cancellable = {}): Promise<Connection> {
    return Connection.open(this.#http, { WebSocket: webSocketOr(this.#WebSocket), ...(signal && { signal }) });
  }

  /**
   * Sends any request of docs/http.md, with the credential, to a path of this node: `jsfs.request('GET', '/.jsfs/status')`. Resolves with
   * an answer that is a success or a 304.
   */
  request(method: string, path: string, { body, ...options }: RequestOptions = {}): Promise<Response> {
    return this.#http.send({ method, path, ...options, body: body === undefined ? undefined : sendable(body) });
  }

  async #write(path: string, body: Body, options: AppendOptions, more: Record<string, string | undefined>): Promise<Metadata> {
    const { onProgress } = options;
    const headers = { ...writeHeaders(body, options), ...more };
    return readMetadata(await read(await this.#send('PUT', path, options, { headers, body: sendable(body), onProgress })));
  }

  async #carry(method: string, path: string, destination: string, options: CopyOptions): Promise<Metadata | Tree | null> {
    const headers = { destination: this.#http.url(destination).pathname, overwrite: options.overwrite === false ? 'F' : 'T' };
    const response = await this.#send(method, path, options, { headers });
    if (response.status !== 201) return null;
    const made = await read<WireMetadata | Tree>(response);
    return 'objects' in made ? made : readMetadata(made);
  }

  #send(method: string, path: string, { ifMatch, signal }: ChangeOptions, request: Partial<Request>): Promise<Response> {
    const headers = { 'if-match': quoted(ifMatch), ...request.headers };
    return this.#http.send({ ...request, method, path, headers, signal });
  }

  #interface(resource: string, document: object, signal: AbortSignal | undefined): Promise<Response> {
    const body = sendable(JSON.stringify(document));
    return this.#http.send({ method: 'POST', path: `/.jsfs/${resource}`, headers: JSON_BODY, body, signal });
  }
}

const JSON_BODY = { 'content-type': 'application/json' };

function writeHeaders(body: Body, options: AppendOptions): Record<string, string | undefined> {
  return {
    'x-content-type': options.contentType ?? typeOf(body),
    'x-private': options.private?.toString(),
    'if-none-match': quoted(options.ifNoneMatch),
  };
}

function asDirectory(path: string): string {
  return path === '' || path.endsWith('/') ? path : `${path}/`;
}

async function read<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

// What the methods of a client can be told beside paths and bodies. Units and defaults are said here.

import type { Body, Progress } from './body.js';
import type { AccessKey } from './key.js';
import type { AccessToken, Method } from './token.js';
import type { WebSocketConstructor } from './websocket.js';

/** How to reach a node. */
export interface JsfsOptions {
  /**
   * The URL of the node, or of a directory there to which relative paths belong. Its host decides the namespace:
   * `http://guestbook.localhost:7302/`. In a page it is the page's own origin unless given.
   */
  url?: string | URL;
  /** An access key, generated or chosen. Sent to this node with every request. */
  key?: string | AccessKey;
  /** An access token, as well or instead. */
  token?: string | AccessToken;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch;
  /** Used instead of the global `WebSocket`, which Node.js has from version 22 on. The package `ws` has one. */
  WebSocket?: WebSocketConstructor;
}

/** An option of every method. */
export interface Cancellable {
  /** Aborting it gives up; the method rejects with the signal's reason. Whether a change was made is not known then. */
  signal?: AbortSignal;
}

/** Which version must be there for a change to be made; else it is refused with 412. */
export interface ChangeOptions extends Cancellable {
  /** The entity tag that the current version must have; `*` for any object at all. */
  ifMatch?: string;
}

export interface AppendOptions extends ChangeOptions {
  /** Media type. Absent: as it was; for a new object that of a `Blob`, else by its name. */
  contentType?: string;
  /** Whether reading needs a credential. Absent: as it was; for a new object as its directory says. */
  private?: boolean;
  /** `*`: nothing must be there. */
  ifNoneMatch?: string;
  /** Called as the body goes out. */
  onProgress?: (progress: Progress) => void;
}

export interface PutOptions extends AppendOptions {
  /** Hands the object over to this key; needs the key of its present owner. */
  replacementKey?: string | AccessKey;
}

/** Which bytes: from `start` up to, not including, `end`; or the last `suffix` ones. */
export type ByteRange = { start: number; end?: number } | { suffix: number };

export interface HeadOptions extends Cancellable {
  /** The number of the version, from 1; absent: the current one. */
  version?: number;
}

export interface GetOptions extends HeadOptions {
  /** Absent: all bytes. Where none of the bytes asked for exist the answer is a 416. */
  range?: ByteRange;
}

export interface ConditionalGetOptions extends GetOptions {
  /** The entity tag of the version that is here already. */
  ifNoneMatch: string;
}

export interface DeleteOptions extends ChangeOptions {
  /** Forget every version for good; needs the key. */
  purge?: boolean;
}

export interface CopyOptions extends ChangeOptions {
  /** `false`: refuse with 412 where something is at the destination. */
  overwrite?: boolean;
}

export interface ListOptions extends Cancellable {
  /** The whole tree, with relative paths as names and without directories. */
  recursive?: boolean;
  /** Entries of a page: 1,000 unless given, at most 10,000. */
  limit?: number;
}

export interface PageOptions extends ListOptions {
  /** The `next` of the page before. */
  after?: string;
}

/** What to change; what is left out stays. With a directory, null inherits again from the directory above. */
export interface PropertyChange {
  /** Of an object: media type. */
  contentType?: string;
  /** Of an object: whether reading it needs a credential. Of a directory: whether new objects are private. */
  private?: boolean | null;
  /** Hands the object or directory over to this key. */
  replacementKey?: string | AccessKey;
  /** Of a directory: who may create objects. */
  create?: 'owner' | 'anyone' | null;
  /** Of a directory: bytes. */
  quota?: number | null;
  /** Of a directory: for how many days, and how many, old versions are kept. */
  retention?: { days: number; versions: number } | null;
  /** Of a directory: hosts that programs may reach. */
  hosts?: string[] | null;
}

export interface TokenOptions extends Cancellable {
  /** What it grants; reading unless given. */
  methods?: readonly Method[];
  /** When it ends: seven days from now unless given. */
  expires?: Date;
}

export interface RequestOptions extends Cancellable {
  /** Parameters of the query. */
  query?: Record<string, string | number | boolean>;
  headers?: Record<string, string>;
  body?: Body;
}

/** A range as it stands in `Range: bytes=…`. @internal */
export function rangeText(range: ByteRange): string {
  if ('suffix' in range) return `-${range.suffix}`;
  const { start, end } = range;
  if (end !== undefined && end <= start) throw new RangeError(`the range from ${start} to ${end} holds no byte`);
  return end === undefined ? `${start}-` : `${start}-${end - 1}`;
}

/** The text of a credential. @internal */
export function textOf<T extends { text: string }>(credential: string | T | undefined): string | undefined {
  return typeof credential === 'object' ? credential.text : credential;
}

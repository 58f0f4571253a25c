// Uploads that survive a broken connection (docs/http.md; the protocol is tus 1.0).
//
// Invariants: after every failure the node is asked how far it has got, and only what it lacks is sent; nothing is taken for stored that the
// node has not said so of. An upload that is given up stays at the node until it expires, so that it can be resumed.

import { type Body, type Progress, type Sendable, typeOf } from './body.js';
import { ConnectionError, JsfsError } from './error.js';
import { type Http, quoted } from './http.js';
import { readTag } from './object.js';
import type { ChangeOptions } from './options.js';
import { Backoff } from './waiting.js';

const CHUNK_BYTES = 4 << 20;
/** Attempts that may fail one after the other before the upload is given up: about a minute and a half of them. */
const FAILURES_MAX = 8;
/** Statuses that pass: too slow, wrong offset, locked by a request that is still ending, too many, a proxy without its node, busy. */
const TEMPORARY = [408, 409, 423, 429, 502, 503, 504];

/** Something with a length of which parts can be read in any order, more than once: a `Blob`, or a file by way of an object of one's own. */
export interface Sliceable {
  /** Bytes. */
  readonly size: number;
  /** The bytes from `start` up to, not including, `end`. */
  slice(start: number, end: number): Blob | Uint8Array<ArrayBuffer> | Promise<Blob | Uint8Array<ArrayBuffer>>;
}

export interface UploadOptions extends ChangeOptions {
  /** Media type. Absent: as it was; for a new object that of a `Blob`, else by its name. */
  contentType?: string;
  /** Whether reading needs a credential. Absent: as it was; for a new object as its directory says. */
  private?: boolean;
  /** `*`: nothing must be there. */
  ifNoneMatch?: string;
  /** Bytes of a request: 4 MiB unless given. */
  chunkBytes?: number;
  /** Called each time that the node has taken more. A node that crashed may have lost the last 16 MiB: then `sent` goes back. */
  onProgress?: (progress: Progress) => void;
  /** Called with the URL of the upload when it begins. Keep it to {@link resume} after a reload. */
  onStart?: (url: string) => void;
  /** The URL of an upload of the same bytes to go on with; the options that describe the object are those it began with. */
  resume?: string;
}

/** What an upload has made. */
export interface Uploaded {
  /** From 1. */
  version: number;
  /** The entity tag, without quotes; null where the last answer was lost and the credential may not read. */
  etag: string | null;
}

/** One upload, from its beginning or from where it was. @internal */
export class Upload {
  readonly #http: Http;
  readonly #path: string;
  readonly #source: Sliceable;
  readonly #contentType: string | undefined;
  readonly #options: UploadOptions;
  readonly #backoff = new Backoff();
  /** Where the node has it; undefined before it has begun. */
  #place: URL | undefined;
  /** The bytes that the node has, by its last answer. */
  #offset = 0;

  constructor(http: Http, path: string, body: Exclude<Body, ReadableStream> | Sliceable, options: UploadOptions) {
    this.#http = http;
    this.#path = path;
    this.#source = sliceable(body);
    this.#contentType = options.contentType ?? (body instanceof Blob ? typeOf(body) : undefined);
    this.#options = options;
    this.#place = options.resume === undefined ? undefined : http.own(options.resume);
  }

  /** Tries until the object is stored, the node refuses, or too many attempts have failed without any progress. */
  async run(): Promise<Uploaded> {
    for (;;) {
      try {
        return await this.#attempt();
      } catch (error) {
        if (!isTemporary(error) || this.#backoff.failures >= FAILURES_MAX) throw error;
        await this.#backoff.failed(this.#options.signal, error instanceof JsfsError ? error.retryAfterSeconds : 0);
      }
    }
  }

  // Finds out how far it has got, and sends the rest.
  async #attempt(): Promise<Uploaded> {
    let answer = this.#place ? await this.#send('HEAD', this.#place, {}) : await this.#begin();
    const place = (this.#place ??= this.#begun(answer));
    this.#reached(answer);
    while (!isComplete(answer)) {
      const end = Math.min(this.#offset + (this.#options.chunkBytes ?? CHUNK_BYTES), this.#source.size);
      const body = { data: await this.#source.slice(this.#offset, end), length: end - this.#offset };
      const headers = { 'upload-offset': String(this.#offset), 'content-type': 'application/offset+octet-stream' };
      answer = await this.#send('PATCH', place, headers, body);
      this.#reached(answer);
    }
    return this.#made(answer);
  }

  #begin(): Promise<Response> {
    const { private: isPrivate, ifMatch, ifNoneMatch } = this.#options;
    const headers = {
      'upload-length': String(this.#source.size),
      'x-content-type': this.#contentType,
      'x-private': isPrivate?.toString(),
      'if-match': quoted(ifMatch),
      'if-none-match': quoted(ifNoneMatch),
    };
    return this.#send('POST', this.#path, headers);
  }

  #begun({ headers }: Response): URL {
    // A server that knows no uploads takes the first request for a whole object.
    if (!headers.has('tus-resumable')) throw new Error('the server knows no resumable uploads; use put');
    const place = this.#http.own(headers.get('location') ?? '');
    this.#options.onStart?.(place.href);
    return place;
  }

  #reached({ headers }: Response): void {
    const total = this.#source.size;
    const length = Number(headers.get('upload-length') ?? total);
    if (length !== total) throw new RangeError(`the upload was begun for ${length} bytes, not for ${total}: it is one of something else`);
    const sent = Number(headers.get('upload-offset'));
    if (sent > this.#offset) this.#backoff.succeeded();
    if (sent !== this.#offset) this.#options.onProgress?.({ sent, total });
    this.#offset = sent;
  }

  // Asked for an upload that is complete the node names the version alone.
  async #made({ headers }: Response): Promise<Uploaded> {
    const version = Number(headers.get('x-version'));
    if (headers.has('etag')) return { version, etag: readTag(headers) };
    const { signal } = this.#options;
    try {
      const head = await this.#http.send({ method: 'HEAD', path: this.#path, query: { version }, signal });
      return { version, etag: readTag(head.headers) };
    } catch (error) {
      if (error instanceof JsfsError && !isTemporary(error)) return { version, etag: null };
      throw error;
    }
  }

  #send(method: string, path: string | URL, headers: Record<string, string | undefined>, body?: Sendable): Promise<Response> {
    return this.#http.send({ method, path, headers: { ...headers, 'tus-resumable': '1.0.0' }, body, signal: this.#options.signal });
  }
}

// The object is there when the node names its version.
function isComplete(answer: Response): boolean {
  return answer.headers.has('x-version');
}

function sliceable(body: Exclude<Body, ReadableStream> | Sliceable): Sliceable {
  const isSliceable = typeof body === 'object' && 'size' in body && 'slice' in body;
  return isSliceable ? body : new Blob([body]);
}

function isTemporary(error: unknown): boolean {
  return error instanceof JsfsError ? TEMPORARY.includes(error.status) : error instanceof ConnectionError;
}

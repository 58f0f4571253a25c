// Uploads that survive a broken connection (docs/http.md; the protocol is tus 1.0).
//
// Invariants: after every failure the node is asked how far it has got, and only what it lacks is sent; nothing is taken for stored that the
// node has not said so of. An upload that is given up stays at the node until it expires, so that it can be resumed.

import { type Body, type Progress, typeOf } from './body.js';
import { JsfsError } from './error.js';
import { type Http, type Request, quoted } from './http.js';
import type { AccessKey } from './key.js';
import { type ChangeOptions, textOf } from './options.js';
import { Backoff } from './waiting.js';

const CHUNK_BYTES = 4 << 20;
/** Attempts that may fail one after the other before the upload is given up: about a minute and a half of them. */
const FAILURES_MAX = 8;
/** Statuses that pass: too slow, wrong offset, locked by a request that is still ending, too many, a proxy without its node, busy. */
const TEMPORARY = [408, 409, 423, 429, 502, 503, 504];
const VERSION = { 'tus-resumable': '1.0.0' };

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
  /** Hands the object over to this key; needs the key of its present owner. */
  replacementKey?: string | AccessKey;
  /** Bytes of a request: 4 MiB unless given. What one holds is lost when the connection breaks. */
  chunkBytes?: number;
  /** Called each time that the node has stored more. */
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
  /** The entity tag, without quotes. */
  etag: string;
}

/** @internal */
export async function upload(http: Http, path: string, body: Exclude<Body, ReadableStream> | Sliceable, options: UploadOptions): Promise<Uploaded> {
  const { chunkBytes = CHUNK_BYTES, onProgress, onStart, resume, signal } = options;
  const source = sliceable(body);
  const backoff = new Backoff();
  let place = resume === undefined ? undefined : new URL(resume);
  let isBegun = false;
  for (;;) {
    try {
      let answer = place ? await http.send({ method: 'HEAD', path: place, headers: VERSION, signal }) : await create(http, path, source, body, options);
      place ??= new URL(answer.headers.get('location') ?? '', http.base);
      if (!isBegun) onStart?.(place.href);
      isBegun = true;
      let offset = offsetOf(answer, source.size);
      if (resume !== undefined) onProgress?.({ sent: offset, total: source.size });
      while (!isComplete(answer)) {
        const end = Math.min(offset + chunkBytes, source.size);
        answer = await http.send(await patch(place, source, offset, end, signal));
        offset = offsetOf(answer, source.size);
        backoff.succeeded();
        onProgress?.({ sent: offset, total: source.size });
      }
      return { version: Number(answer.headers.get('x-version')), etag: (answer.headers.get('etag') ?? '').replaceAll('"', '') };
    } catch (error) {
      if (!isTemporary(error) || backoff.failures >= FAILURES_MAX) throw error;
      await backoff.failed(signal, error instanceof JsfsError ? error.retryAfterSeconds : 0);
    }
  }
}

function create(http: Http, path: string, source: Sliceable, body: Body | Sliceable, options: UploadOptions): Promise<Response> {
  const { replacementKey, signal } = options;
  const headers = {
    ...VERSION,
    'upload-length': String(source.size),
    'x-content-type': options.contentType ?? (body instanceof Blob ? typeOf(body) : undefined),
    'x-private': options.private?.toString(),
    'x-replacement-access-key': textOf(replacementKey),
    'if-match': quoted(options.ifMatch),
    'if-none-match': quoted(options.ifNoneMatch),
  };
  return http.send({ method: 'POST', path, headers, signal });
}

async function patch(place: URL, source: Sliceable, offset: number, end: number, signal: AbortSignal | undefined): Promise<Request> {
  const headers = { ...VERSION, 'upload-offset': String(offset), 'content-type': 'application/offset+octet-stream' };
  return { method: 'PATCH', path: place, headers, body: { data: await source.slice(offset, end), length: end - offset }, signal };
}

// The object is there when the node names its version.
function isComplete(answer: Response): boolean {
  return answer.headers.has('x-version');
}

// The answer to a creation may leave the offset out: nothing is there yet.
function offsetOf(answer: Response, size: number): number {
  const offset = Number(answer.headers.get('upload-offset') ?? 0);
  const length = Number(answer.headers.get('upload-length') ?? size);
  if (length !== size) throw new RangeError(`the upload was begun for ${length} bytes, not for ${size}: it is one of something else`);
  return offset;
}

function sliceable(body: Exclude<Body, ReadableStream> | Sliceable): Sliceable {
  const isSliceable = typeof body === 'object' && 'size' in body && 'slice' in body;
  return isSliceable ? body : new Blob([body]);
}

// `fetch` rejects with a TypeError where the connection failed.
function isTemporary(error: unknown): boolean {
  return error instanceof JsfsError ? TEMPORARY.includes(error.status) : error instanceof TypeError;
}

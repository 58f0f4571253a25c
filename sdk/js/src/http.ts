// Requests to one node: addresses, credentials, refusals.
//
// Invariants: every request goes to the origin of `base`, whatever a path holds, and carries the credential there and nowhere else;
// redirects are errors, never followed; a browser's own cookies and passwords are left out.

import { utf8 } from './bytes.js';
import { type Progress, type Sendable, counted } from './body.js';
import { ConnectionError, JsfsError, readProblem, refusal } from './error.js';
import { sendByXhr } from './xhr.js';

/** A credential: text of an access key, of an access token, or of both. */
export interface Credential {
  key?: string;
  token?: string;
}

/** One request. @internal */
export interface Request {
  method: string;
  /** A path of objects (see {@link Http.url}), or a URL at the same origin. */
  path: string | URL;
  /** Parameters of the query; what is undefined is left out. */
  query?: Record<string, string | number | boolean | undefined> | undefined;
  headers?: Record<string, string | undefined> | undefined;
  body?: Sendable | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** @internal */
export class Http {
  readonly base: URL;
  readonly credential: Credential;
  readonly #fetch: typeof fetch;
  readonly #hasOwnFetch: boolean;

  constructor(base: URL, credential: Credential, ownFetch?: typeof fetch) {
    if (!/^https?:$/.test(base.protocol)) throw new TypeError(`the URL of a node begins with http: or https:, not ${base.protocol}`);
    if (base.username || base.password) throw new TypeError('the URL of a node holds no user and password; pass key or token');
    this.base = base;
    this.credential = credential;
    this.#fetch = ownFetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#hasOwnFetch = ownFetch !== undefined;
  }

  /**
   * The URL of a path. A path is text, not escaped; it begins with `/`, or it is relative to the directory of the base.
   */
  url(path: string): URL {
    const url = new URL(this.base);
    const directory = path.startsWith('/') ? '' : url.pathname.slice(0, url.pathname.lastIndexOf('/') + 1);
    // Set as a pathname it cannot lead to another host, as `//host/` would when resolved.
    url.pathname = directory + path.split('/').map(encodeURIComponent).join('/');
    url.search = '';
    url.hash = '';
    return url;
  }

  /** A URL of this node from its text. */
  own(text: string): URL {
    const url = new URL(text, this.base);
    if (url.origin !== this.base.origin) throw new TypeError(`${url.origin} is another node than ${this.base.origin}`);
    return url;
  }

  /** Sends a request; resolves with the answer if that is a success or a 304, else rejects with a {@link JsfsError}. */
  async send(request: Request): Promise<Response> {
    const url = typeof request.path === 'string' ? this.url(request.path) : this.own(request.path.href);
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    request.signal?.throwIfAborted();
    const headers = new Headers(this.#authorization());
    for (const [name, value] of Object.entries(request.headers ?? {})) {
      if (value !== undefined) headers.set(name, byteString(value));
    }
    const response = await this.#exchange(url, headers, request).catch(unreachable);
    if (response.ok || response.status === 304) return response;
    // A browser hides the status of a redirect that was not followed.
    if (response.type === 'opaqueredirect') throw new JsfsError(readProblem(null, 307));
    throw await refusal(response);
  }

  async #exchange(url: URL, headers: Headers, { method, body, onProgress, signal }: Request): Promise<Response> {
    if (body && onProgress && !isNode && !this.#hasOwnFetch && typeof XMLHttpRequest === 'function') {
      return sendByXhr(url, method, headers, { ...body, data: await collected(body) }, onProgress, signal);
    }
    const init: RequestInit & { duplex?: 'half' } = { method, headers, redirect: 'manual', credentials: 'omit' };
    // Browsers cut ranges out of compressed answers that they have kept, as if these were the object.
    if (headers.has('range')) init.cache = 'no-store';
    if (signal) init.signal = signal;
    if (body) init.body = isNode ? (onProgress ? counted(body, onProgress) : body.data) : await collected(body);
    if (init.body instanceof ReadableStream) {
      init.duplex = 'half';
      // Node.js 20 goes on reading the stream of a request that was aborted.
      if (signal) init.body = init.body.pipeThrough(new TransformStream(), { signal });
    }
    return this.#fetch(url, init);
  }

  // One credential travels as `Authorization`, which proxies keep out of their logs; a token beside a key has a header of its own.
  #authorization(): Record<string, string> {
    const { key, token } = this.credential;
    const bearer = key ?? token;
    if (bearer === undefined) return {};
    const authorization = { authorization: `Bearer ${byteString(bearer)}` };
    return key !== undefined && token !== undefined ? { ...authorization, 'x-access-token': token } : authorization;
  }
}

// `fetch` rejects with a TypeError where the connection fails.
function unreachable(error: unknown): never {
  if (!(error instanceof TypeError)) throw error;
  throw new ConnectionError(`the node cannot be reached, or gave no answer: ${error.message}`, { cause: error });
}

/** The value of a condition: entity tags are handed in and out without quotes. @internal */
export function quoted(etag: string | undefined): string | undefined {
  return etag === undefined || etag === '*' ? etag : `"${etag}"`;
}

const isNode = typeof process === 'object' && typeof process.versions?.node === 'string';
declare const process: { versions?: { node?: string } } | undefined;

// Browsers cannot send a stream over HTTP/1.1.
async function collected({ data }: Sendable): Promise<Exclude<Sendable['data'], ReadableStream>> {
  return data instanceof ReadableStream ? new Response(data).blob() : data;
}

// Header values are bytes, which `Headers` takes as the characters U+0000 to U+00FF; ours are UTF-8.
function byteString(value: string): string {
  return Array.from(utf8(value), (byte) => String.fromCharCode(byte)).join('');
}

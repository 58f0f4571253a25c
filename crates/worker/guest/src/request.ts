// Request: Fetch Standard, section 5.4.

import { AbortSignal, dependOn, newSignal, toAbortSignal } from './abort.ts';
import {
  type Body, type BodyInit, type BodyOwner, cloneBody, consumers, extract, isUnusable, isUsed, promising, streamOf, takeOver, toBodyInit,
} from './body.ts';
import {
  appendTo, copyList, fill, getFrom, hasIn, type HeaderList, type Headers, type HeadersInit, isToken, newHeaders, toHeadersInit,
} from './headers.ts';
import type { RequestHead, UrlParts } from './host.ts';
import { parseUrl, program, tryParseUrl } from './location.ts';
import { stringSlice, stringStartsWith, stringToUpperCase } from './primordials.ts';
import { isReadableStream, type ReadableStream } from './streams.ts';
import {
  defineInterface, dictionary, internal, isObject, member, requireArguments, toByteString, toDOMString, toEnum, toUSVString,
} from './webidl.ts';

const NativeBoolean = Boolean;

const modes = ['same-origin', 'no-cors', 'cors', 'navigate'] as const;
const credentials = ['omit', 'same-origin', 'include'] as const;
const caches = ['default', 'no-store', 'reload', 'no-cache', 'force-cache', 'only-if-cached'] as const;
const redirects = ['follow', 'error', 'manual'] as const;
const policies = [
  '', 'no-referrer', 'no-referrer-when-downgrade', 'same-origin', 'origin', 'strict-origin', 'origin-when-cross-origin',
  'strict-origin-when-cross-origin', 'unsafe-url',
] as const;
const priorities = ['high', 'low', 'auto'] as const;

export type Mode = (typeof modes)[number];
export type Redirect = (typeof redirects)[number];

/** A request as the standard's algorithms see it. */
export interface RequestState {
  method: string;
  url: string;
  mode: Mode;
  credentials: (typeof credentials)[number];
  cache: (typeof caches)[number];
  redirect: Redirect;
  referrer: string;
  referrerPolicy: (typeof policies)[number];
  integrity: string;
  keepalive: boolean;
  headers: HeaderList;
  body: Body | null;
}

interface Init {
  body: BodyInit | null | undefined;
  cache: RequestState['cache'] | undefined;
  credentials: RequestState['credentials'] | undefined;
  duplex: string | undefined;
  headers: HeadersInit | undefined;
  integrity: string | undefined;
  keepalive: boolean | undefined;
  method: string | undefined;
  mode: Mode | undefined;
  redirect: Redirect | undefined;
  referrer: string | undefined;
  referrerPolicy: RequestState['referrerPolicy'] | undefined;
  signal: AbortSignal | null | undefined;
  window: unknown;
  empty: boolean;
}

function toInit(value: unknown): Init | undefined {
  if (value === undefined || value === null) return undefined;
  const dict = dictionary(value, 'Request: init');
  const init: Init = {
    body: member(dict, 'body', (body) => (body === null ? null : toBodyInit(body))),
    cache: member(dict, 'cache', (cache) => toEnum(cache, caches, 'cache')),
    credentials: member(dict, 'credentials', (value) => toEnum(value, credentials, 'credentials')),
    duplex: member(dict, 'duplex', (value) => toEnum(value, ['half'], 'duplex')),
    headers: member(dict, 'headers', toHeadersInit),
    integrity: member(dict, 'integrity', toDOMString),
    keepalive: member(dict, 'keepalive', NativeBoolean),
    method: member(dict, 'method', toByteString),
    mode: member(dict, 'mode', (value) => toEnum(value, modes, 'mode')),
    redirect: undefined,
    referrer: undefined,
    referrerPolicy: undefined,
    signal: undefined,
    window: undefined,
    empty: false,
  };
  const priority = member(dict, 'priority', (value) => toEnum(value, priorities, 'priority'));
  init.redirect = member(dict, 'redirect', (value) => toEnum(value, redirects, 'redirect'));
  init.referrer = member(dict, 'referrer', toUSVString);
  init.referrerPolicy = member(dict, 'referrerPolicy', (value) => toEnum(value, policies, 'referrerPolicy'));
  init.signal = member(dict, 'signal', (value) => (value === null ? null : toAbortSignal(value)));
  init.window = dict['window'];
  init.empty =
    init.body === undefined && init.cache === undefined && init.credentials === undefined && init.duplex === undefined && init.headers === undefined &&
    init.integrity === undefined && init.keepalive === undefined && init.method === undefined && init.mode === undefined && priority === undefined &&
    init.redirect === undefined && init.referrer === undefined && init.referrerPolicy === undefined && init.signal === undefined && init.window === undefined;
  return init;
}

let stateOf: (request: Request) => RequestState;
let signalOf: (request: Request) => AbortSignal;
let isRequest: (value: unknown) => value is Request;
let newRequest: (state: RequestState, immutable: boolean) => Request;

export class Request {
  #state: RequestState;
  #headers: Headers | undefined;
  #signal: AbortSignal | undefined;
  #immutable = false;

  constructor(input: unknown, init: unknown = undefined) {
    if (input === internal) {
      this.#state = init as RequestState;
      return;
    }
    requireArguments(arguments.length, 1, 'Request constructor');
    const from = isRequest(input) ? input : undefined;
    const url = from === undefined ? toUSVString(input) : '';
    const options = toInit(init);
    const state = from === undefined ? freshState(url) : copyState(from.#state);
    this.#state = state;
    let signal = from === undefined ? undefined : from.#signal;
    if (options !== undefined) {
      apply(state, options);
      if (options.signal !== undefined) signal = options.signal ?? undefined;
    }
    if (signal !== undefined) {
      this.#signal = newSignal();
      dependOn(this.#signal, [signal]);
    }
    if (state.mode === 'no-cors' && !isSafelistedMethod(state.method)) throw new TypeError(`'${state.method}' is no method for mode no-cors`);
    const given = options?.headers;
    const guard = state.mode === 'no-cors' ? 'request-no-cors' : 'request';
    if (options !== undefined && !options.empty) {
      // The headers go through the guard once more, because mode or headers may be new.
      const before = state.headers.pairs;
      state.headers = { pairs: [] };
      this.#headers = newHeaders(state.headers, guard);
      fill(this.#headers, given ?? before);
    }
    const inputBody = from === undefined ? null : from.#state.body;
    const initBody = options?.body ?? null;
    if ((initBody !== null || inputBody !== null) && (state.method === 'GET' || state.method === 'HEAD')) {
      throw new TypeError(`A ${state.method} request has no body`);
    }
    if (initBody !== null) {
      const { body, type } = extract(initBody);
      if (type !== undefined && !hasIn(state.headers, 'content-type')) appendTo(this.#headersObject(), 'content-type', type);
      if (isReadableStream(initBody)) {
        if (options?.duplex === undefined) throw new TypeError("A request whose body is a stream needs duplex: 'half'");
        if (state.mode !== 'same-origin' && state.mode !== 'cors') throw new TypeError('A stream needs mode same-origin or cors');
      }
      state.body = body;
    } else if (inputBody !== null) {
      if (isUnusable(inputBody)) throw new TypeError('The body of the request was used already');
      state.body = takeOver(inputBody);
    }
  }

  get method(): string {
    return this.#state.method;
  }
  get url(): string {
    return this.#state.url;
  }
  get headers(): Headers {
    return this.#headersObject();
  }
  get destination(): string {
    void this.#state;
    return '';
  }
  get referrer(): string {
    const { referrer } = this.#state;
    return referrer === 'no-referrer' ? '' : referrer === 'client' ? 'about:client' : referrer;
  }
  get referrerPolicy(): string {
    return this.#state.referrerPolicy;
  }
  get mode(): string {
    return this.#state.mode;
  }
  get credentials(): string {
    return this.#state.credentials;
  }
  get cache(): string {
    return this.#state.cache;
  }
  get redirect(): string {
    return this.#state.redirect;
  }
  get integrity(): string {
    return this.#state.integrity;
  }
  get keepalive(): boolean {
    return this.#state.keepalive;
  }
  get isReloadNavigation(): boolean {
    void this.#state;
    return false;
  }
  get isHistoryNavigation(): boolean {
    void this.#state;
    return false;
  }
  get signal(): AbortSignal {
    return signalOf(this);
  }
  get duplex(): string {
    void this.#state;
    return 'half';
  }
  get body(): ReadableStream | null {
    const { body } = this.#state;
    return body === null ? null : streamOf(body);
  }
  get bodyUsed(): boolean {
    return isUsed(this.#state.body);
  }
  arrayBuffer(): Promise<ArrayBuffer> {
    return promising(() => consumers.arrayBuffer(this.#owner()));
  }
  blob(): Promise<object> {
    return promising(() => consumers.blob(this.#owner()));
  }
  bytes(): Promise<Uint8Array> {
    return promising(() => consumers.bytes(this.#owner()));
  }
  formData(): Promise<object> {
    return promising(() => consumers.formData(this.#owner()));
  }
  json(): Promise<unknown> {
    return promising(() => consumers.json(this.#owner()));
  }
  text(): Promise<string> {
    return promising(() => consumers.text(this.#owner()));
  }

  clone(): Request {
    const state = this.#state;
    if (isUnusable(state.body)) throw new TypeError('The body of the request was used already');
    const copy = copyState(state);
    if (state.body !== null) copy.body = cloneBody(state.body);
    const clone = new Request(internal, copy);
    clone.#immutable = this.#immutable;
    clone.#signal = newSignal();
    dependOn(clone.#signal, [signalOf(this)]);
    return clone;
  }

  #headersObject(): Headers {
    if (this.#headers === undefined) {
      const guard = this.#immutable ? 'immutable' : this.#state.mode === 'no-cors' ? 'request-no-cors' : 'request';
      this.#headers = newHeaders(this.#state.headers, guard);
    }
    return this.#headers;
  }

  #owner(): BodyOwner {
    return { body: this.#state.body, contentType: () => getFrom(this.#state.headers, 'content-type') };
  }

  static {
    stateOf = (request) => request.#state;
    signalOf = (request) => (request.#signal ??= newSignal());
    isRequest = (value): value is Request => isObject(value) && #state in value;
    newRequest = (state, immutable) => {
      const request = new Request(internal, state);
      request.#immutable = immutable;
      return request;
    };
  }
}

export { isRequest, newRequest, signalOf, stateOf };

function freshState(url: string): RequestState {
  const parts = parseUrl(url);
  if (parts.username !== '' || parts.password !== '') throw new TypeError(`The URL of a request has no credentials: '${url}'`);
  return {
    method: 'GET', url: parts.href, mode: 'cors', credentials: 'same-origin', cache: 'default', redirect: 'follow', referrer: 'client',
    referrerPolicy: '', integrity: '', keepalive: false, headers: { pairs: [] }, body: null,
  };
}

function copyState(state: RequestState): RequestState {
  return {
    method: state.method, url: state.url, mode: state.mode, credentials: state.credentials, cache: state.cache, redirect: state.redirect,
    referrer: state.referrer, referrerPolicy: state.referrerPolicy, integrity: state.integrity, keepalive: state.keepalive,
    headers: copyList(state.headers), body: null,
  };
}

/** The request that a run is given. */
export function incomingRequest(head: RequestHead, body: Body | null): Request {
  const state: RequestState = {
    method: head.method, url: head.url, mode: 'cors', credentials: 'same-origin', cache: 'default', redirect: 'manual', referrer: 'client',
    referrerPolicy: '', integrity: '', keepalive: false, headers: { pairs: head.headers }, body,
  };
  return newRequest(state, true);
}

function apply(state: RequestState, init: Init): void {
  if (init.window !== undefined && init.window !== null) throw new TypeError('window must be null');
  if (!init.empty) {
    if (state.mode === 'navigate') state.mode = 'same-origin';
    state.referrer = 'client';
    state.referrerPolicy = '';
  }
  if (init.referrer !== undefined) state.referrer = referrerOf(init.referrer);
  if (init.referrerPolicy !== undefined) state.referrerPolicy = init.referrerPolicy;
  if (init.mode === 'navigate') throw new TypeError("A program cannot make a request of mode 'navigate'");
  if (init.mode !== undefined) state.mode = init.mode;
  if (init.credentials !== undefined) state.credentials = init.credentials;
  if (init.cache !== undefined) state.cache = init.cache;
  if (state.cache === 'only-if-cached' && state.mode !== 'same-origin') throw new TypeError("Cache mode 'only-if-cached' needs mode 'same-origin'");
  if (init.redirect !== undefined) state.redirect = init.redirect;
  if (init.integrity !== undefined) state.integrity = init.integrity;
  if (init.keepalive !== undefined) state.keepalive = init.keepalive;
  if (init.method !== undefined) state.method = validMethod(init.method);
}

function referrerOf(referrer: string): string {
  if (referrer === '') return 'no-referrer';
  const parts = parseUrl(referrer);
  if (parts.protocol === 'about:' && parts.pathname === 'client') return 'client';
  const base = tryParseUrl(program.base) as UrlParts;
  return parts.origin === base.origin ? parts.href : 'client';
}

function validMethod(method: string): string {
  const upper = stringToUpperCase(method);
  if (!isToken(method) || upper === 'CONNECT' || upper === 'TRACE' || upper === 'TRACK') throw new TypeError(`'${method}' is no method for a request`);
  switch (upper) {
    case 'DELETE':
    case 'GET':
    case 'HEAD':
    case 'OPTIONS':
    case 'POST':
    case 'PUT':
      return upper;
    default:
      return method;
  }
}

function isSafelistedMethod(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'POST';
}

/** A URL without what comes after its first `#`. */
export function withoutFragment(url: string): string {
  for (let i = 0; i < url.length; i++) if (url[i] === '#') return stringSlice(url, 0, i);
  return url;
}

export function isHttp(url: string): boolean {
  return stringStartsWith(url, 'http://') || stringStartsWith(url, 'https://');
}

export function install(global: object): void {
  defineInterface(global, 'Request', Request);
}

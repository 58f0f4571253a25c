// Response: Fetch Standard, section 5.5.

import {
  type Body, bodyOf, type BodyInit, type BodyOwner, cloneBody, consumers, type Extracted, extract, isUnusable, isUsed, promising, streamOf,
  toBodyInit,
} from './body.ts';
import {
  copyList, fill, getFrom, type Guard, hasIn, type HeaderList, type Headers, type HeadersInit, newHeaders, toHeadersInit,
} from './headers.ts';
import { parseUrl } from './location.ts';
import { append, jsonStringify, regexpExec } from './primordials.ts';
import type { ReadableStream } from './streams.ts';
import {
  defineInterface, dictionary, internal, isObject, member, requireArguments, toByteString, toUnsignedShort, toUSVString,
} from './webidl.ts';

export type ResponseType = 'basic' | 'cors' | 'default' | 'error' | 'opaque' | 'opaqueredirect';

export interface ResponseState {
  type: ResponseType;
  url: string;
  redirected: boolean;
  status: number;
  statusText: string;
  headers: HeaderList;
  body: Body | null;
}

interface Init {
  status: number;
  statusText: string;
  headers: HeadersInit | undefined;
}

const noInit: Init = { status: 200, statusText: '', headers: undefined };

function toInit(value: unknown): Init {
  if (value === undefined || value === null) return noInit;
  const dict = dictionary(value, 'Response: init');
  const headers = member(dict, 'headers', toHeadersInit);
  const status = member(dict, 'status', (status) => toUnsignedShort(status)) ?? 200;
  const statusText = member(dict, 'statusText', toByteString) ?? '';
  return { status, statusText, headers };
}

const textType: [string, string] = ['content-type', 'text/plain;charset=UTF-8'];
const reasonPhrase = /^[\t\x20-\x7e\x80-\xff]*$/;

let stateOf: (response: Response) => ResponseState;
let newResponse: (state: ResponseState, guard: Guard) => Response;
let isResponse: (value: unknown) => value is Response;

export class Response {
  #state: ResponseState;
  #guard: Guard = 'response';
  #headers: Headers | undefined;

  constructor(body: unknown = null, init: unknown = undefined) {
    if (body === internal) {
      this.#state = init as ResponseState;
      return;
    }
    this.#state = freshState();
    if (typeof body === 'string' && init === undefined) {
      // What most handlers do, without the detours.
      this.#state.body = bodyOf(toUSVString(body));
      append(this.#state.headers.pairs, textType);
      return;
    }
    const content: BodyInit | null = body === null || body === undefined ? null : toBodyInit(body);
    this.#initialize(toInit(init), content === null ? undefined : () => extract(content));
  }

  static error(): Response {
    const state = freshState();
    state.type = 'error';
    state.status = 0;
    return newResponse(state, 'immutable');
  }

  static redirect(url: string, status: number = 302): Response {
    requireArguments(arguments.length, 1, 'Response.redirect');
    const target = toUSVString(url);
    const code = toUnsignedShort(status);
    const { href } = parseUrl(target);
    if (code !== 301 && code !== 302 && code !== 303 && code !== 307 && code !== 308) throw new RangeError(`${code} is not the status of a redirect`);
    const state = freshState();
    state.status = code;
    append(state.headers.pairs, ['location', href]);
    return newResponse(state, 'immutable');
  }

  static json(data: unknown, init: unknown = undefined): Response {
    requireArguments(arguments.length, 1, 'Response.json');
    const options = toInit(init);
    const text = jsonStringify(data);
    if (text === undefined) throw new TypeError('The value is nothing that JSON can say');
    const response = newResponse(freshState(), 'response');
    response.#initialize(options, () => ({ body: bodyOf(text), type: 'application/json' }));
    return response;
  }

  get type(): ResponseType {
    return this.#state.type;
  }
  get url(): string {
    return this.#state.url;
  }
  get redirected(): boolean {
    return this.#state.redirected;
  }
  get status(): number {
    return this.#state.status;
  }
  get ok(): boolean {
    const { status } = this.#state;
    return status >= 200 && status <= 299;
  }
  get statusText(): string {
    return this.#state.statusText;
  }
  get headers(): Headers {
    return this.#headersObject();
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

  clone(): Response {
    const state = this.#state;
    if (isUnusable(state.body)) throw new TypeError('The body of the response was used already');
    const copy: ResponseState = {
      type: state.type, url: state.url, redirected: state.redirected, status: state.status, statusText: state.statusText,
      headers: copyList(state.headers), body: state.body === null ? null : cloneBody(state.body),
    };
    return newResponse(copy, this.#guard);
  }

  /** "Initialize a response". */
  #initialize(init: Init, content: (() => Extracted) | undefined): void {
    if (init.status < 200 || init.status > 599) throw new RangeError(`The status ${init.status} is not between 200 and 599`);
    if (init.statusText !== '' && regexpExec(reasonPhrase, init.statusText) === null) throw new TypeError(`'${init.statusText}' is not a valid status text`);
    const state = this.#state;
    // The body is extracted first, as the constructor's steps want; its effects are visible.
    const extracted = content?.();
    state.status = init.status;
    state.statusText = init.statusText;
    if (init.headers !== undefined) fill(this.#headersObject(), init.headers);
    if (extracted === undefined) return;
    if (isNullBodyStatus(init.status)) throw new TypeError(`A response of status ${init.status} has no body`);
    state.body = extracted.body;
    if (extracted.type !== undefined && !hasIn(state.headers, 'content-type')) append(state.headers.pairs, ['content-type', extracted.type]);
  }

  #headersObject(): Headers {
    return (this.#headers ??= newHeaders(this.#state.headers, this.#guard));
  }

  #owner(): BodyOwner {
    return { body: this.#state.body, contentType: () => getFrom(this.#state.headers, 'content-type') };
  }

  static {
    stateOf = (response) => response.#state;
    isResponse = (value): value is Response => isObject(value) && #state in value;
    newResponse = (state, guard) => {
      const response = new Response(internal, state);
      response.#guard = guard;
      return response;
    };
  }
}

export { isResponse, newResponse, stateOf };

function freshState(): ResponseState {
  return { type: 'default', url: '', redirected: false, status: 200, statusText: '', headers: { pairs: [] }, body: null };
}

export function isNullBodyStatus(status: number): boolean {
  return status === 101 || status === 103 || status === 204 || status === 205 || status === 304;
}

export function install(global: object): void {
  defineInterface(global, 'Response', Response, { length: 0 });
}

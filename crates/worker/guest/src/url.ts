// URL and URLSearchParams of the URL Standard (section 6), and URLPattern of the URL Pattern Standard.
//
// Parsing and setting are the worker's (`host.urlParse`, `host.urlSet`); a URL here holds the parts that came back. The query's list of pairs
// lives here, because a URLSearchParams and its URL change each other: whichever is changed writes the other anew.

import type { Host, UrlParts } from './host.ts';
import {
  append, arraySort, bufferOf, arraySplice, jsonParse, regexpExec, stringCharCodeAt, stringIndexOf, stringSlice, stringSplit,
} from './primordials.ts';
import {
  defineInterface, definePairIterable, internal, isObject, iteratorSymbol, requireArguments, sequenceFrom, toRecord, toSequence, toUSVString,
} from './webidl.ts';
import { installPattern } from './urlpattern.ts';

export type Pair = [name: string, value: string];

const { fromCharCode } = String;
const nativeDecodeURIComponent = decodeURIComponent;
const nativeEncodeURIComponent = encodeURIComponent;
const NativeUint8Array = Uint8Array;

let host: Host;

// application/x-www-form-urlencoded (URL Standard, section 5)

/** The pairs of a form's or a query's text. */
export function parseUrlencoded(text: string): Pair[] {
  const pairs: Pair[] = [];
  if (text === '') return pairs;
  const sequences = stringSplit(text, '&');
  for (let i = 0; i < sequences.length; i++) {
    const sequence = sequences[i] as string;
    if (sequence === '') continue;
    const equals = stringIndexOf(sequence, '=');
    const name = equals < 0 ? sequence : stringSlice(sequence, 0, equals);
    const value = equals < 0 ? '' : stringSlice(sequence, equals + 1);
    append(pairs, [decodeComponent(name), decodeComponent(value)]);
  }
  return pairs;
}

function decodeComponent(text: string): string {
  const spaced = stringIndexOf(text, '+') < 0 ? text : replaceAll(text, '+', ' ');
  if (stringIndexOf(spaced, '%') < 0) return spaced;
  try {
    return nativeDecodeURIComponent(spaced);
  } catch {
    return decodeMalformed(spaced);
  }
}

/** Where a percent sign begins no byte, or the bytes are no UTF-8: byte by byte, as the standard says. */
function decodeMalformed(text: string): string {
  const bytes = new NativeUint8Array(host.encode(text));
  let length = 0;
  for (let i = 0; i < bytes.length; i++, length++) {
    const high = bytes[i] === 0x25 ? hexDigit(bytes[i + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(bytes[i + 2]);
    if (low < 0) {
      bytes[length] = bytes[i] as number;
    } else {
      bytes[length] = high * 16 + low;
      i += 2;
    }
  }
  const decoded = new NativeUint8Array(length);
  for (let i = 0; i < length; i++) decoded[i] = bytes[i] as number;
  return host.decode('utf-8', bufferOf(decoded), false, true);
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte & 0xdf;
  return letter >= 0x41 && letter <= 0x46 ? letter - 0x37 : -1;
}

function replaceAll(text: string, what: string, by: string): string {
  let result = '';
  let from = 0;
  for (;;) {
    const at = stringIndexOf(text, what, from);
    if (at < 0) return result + stringSlice(text, from);
    result += stringSlice(text, from, at) + by;
    from = at + what.length;
  }
}

export function serializeUrlencoded(pairs: readonly Pair[]): string {
  let text = '';
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i] as Pair;
    text += (i === 0 ? '' : '&') + encodeComponent(pair[0]) + '=' + encodeComponent(pair[1]);
  }
  return text;
}

// What the language's function leaves or makes otherwise than a form wants it.
const unlikeForms = /[!'()~]|%20/;

function encodeComponent(text: string): string {
  const encoded = nativeEncodeURIComponent(text);
  if (regexpExec(unlikeForms, encoded) === null) return encoded;
  let result = '';
  for (let i = 0; i < encoded.length; i++) {
    const code = stringCharCodeAt(encoded, i);
    if (code === 0x25 && stringCharCodeAt(encoded, i + 1) === 0x32 && stringCharCodeAt(encoded, i + 2) === 0x30) {
      result += '+';
      i += 2;
    } else if (code === 0x21) result += '%21';
    else if (code === 0x7e) result += '%7E';
    else if (code >= 0x27 && code <= 0x29) result += code === 0x27 ? '%27' : code === 0x28 ? '%28' : '%29';
    else result += fromCharCode(code);
  }
  return result;
}

// URLSearchParams

/** The list that the object stands for: read it, don't keep it. */
export let pairsOf: (params: URLSearchParams) => readonly Pair[];
export let isURLSearchParams: (value: unknown) => value is URLSearchParams;
let setPairs: (params: URLSearchParams, pairs: Pair[]) => void;
let paramsOfUrl: (pairs: Pair[], url: URL) => URLSearchParams;
let setQuery: (url: URL, query: string) => void;

export class URLSearchParams {
  #pairs: Pair[] = [];
  #url: URL | undefined = undefined;

  static {
    pairsOf = (params) => params.#pairs;
    isURLSearchParams = (value): value is URLSearchParams => isObject(value) && #pairs in value;
    setPairs = (params, pairs) => {
      params.#pairs = pairs;
    };
    paramsOfUrl = (pairs, url) => {
      const params = new URLSearchParams();
      params.#pairs = pairs;
      params.#url = url;
      return params;
    };
  }

  constructor(init: unknown = '') {
    if (!isObject(init)) {
      const text = toUSVString(init);
      this.#pairs = parseUrlencoded(stringCharCodeAt(text, 0) === 0x3f ? stringSlice(text, 1) : text);
      return;
    }
    const method = (init as { [iteratorSymbol]?: unknown })[iteratorSymbol];
    if (method === undefined || method === null) {
      this.#pairs = toRecord(init, toUSVString, toUSVString);
      return;
    }
    if (typeof method !== 'function') throw new TypeError('URLSearchParams constructor: the parameter is not iterable');
    const lists = sequenceFrom(init, method, toPair, 'URLSearchParams constructor: the parameter');
    for (let i = 0; i < lists.length; i++) {
      const list = lists[i] as string[];
      if (list.length !== 2) throw new TypeError('URLSearchParams constructor: each pair must have a name and a value');
      append(this.#pairs, [list[0] as string, list[1] as string]);
    }
  }

  get size(): number {
    return this.#pairs.length;
  }

  append(name: string, value: string): void {
    requireArguments(arguments.length, 2, 'URLSearchParams.append');
    append(this.#pairs, [toUSVString(name), toUSVString(value)]);
    this.#update();
  }

  delete(name: string, value: string | undefined = undefined): void {
    requireArguments(arguments.length, 1, 'URLSearchParams.delete');
    const wanted = toUSVString(name);
    const wantedValue = value === undefined ? undefined : toUSVString(value);
    const kept: Pair[] = [];
    for (let i = 0; i < this.#pairs.length; i++) {
      const pair = this.#pairs[i] as Pair;
      if (!matches(pair, wanted, wantedValue)) append(kept, pair);
    }
    this.#pairs = kept;
    this.#update();
  }

  get(name: string): string | null {
    requireArguments(arguments.length, 1, 'URLSearchParams.get');
    const wanted = toUSVString(name);
    for (let i = 0; i < this.#pairs.length; i++) {
      const pair = this.#pairs[i] as Pair;
      if (pair[0] === wanted) return pair[1];
    }
    return null;
  }

  getAll(name: string): string[] {
    requireArguments(arguments.length, 1, 'URLSearchParams.getAll');
    const wanted = toUSVString(name);
    const values: string[] = [];
    for (let i = 0; i < this.#pairs.length; i++) {
      const pair = this.#pairs[i] as Pair;
      if (pair[0] === wanted) append(values, pair[1]);
    }
    return values;
  }

  has(name: string, value: string | undefined = undefined): boolean {
    requireArguments(arguments.length, 1, 'URLSearchParams.has');
    const wanted = toUSVString(name);
    const wantedValue = value === undefined ? undefined : toUSVString(value);
    for (let i = 0; i < this.#pairs.length; i++) if (matches(this.#pairs[i] as Pair, wanted, wantedValue)) return true;
    return false;
  }

  set(name: string, value: string): void {
    requireArguments(arguments.length, 2, 'URLSearchParams.set');
    const wanted = toUSVString(name);
    const newValue = toUSVString(value);
    let found = false;
    for (let i = 0; i < this.#pairs.length; ) {
      const pair = this.#pairs[i] as Pair;
      if (pair[0] !== wanted) i++;
      else if (found) arraySplice(this.#pairs, i, 1);
      else {
        found = true;
        pair[1] = newValue;
        i++;
      }
    }
    if (!found) append(this.#pairs, [wanted, newValue]);
    this.#update();
  }

  sort(): void {
    arraySort(this.#pairs, (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    this.#update();
  }

  toString(): string {
    return serializeUrlencoded(this.#pairs);
  }

  #update(): void {
    if (this.#url !== undefined) setQuery(this.#url, serializeUrlencoded(this.#pairs));
  }
}

function toPair(value: unknown): string[] {
  return toSequence(value, toUSVString, 'URLSearchParams constructor: a pair');
}

function matches(pair: Pair, name: string, value: string | undefined): boolean {
  return pair[0] === name && (value === undefined || pair[1] === value);
}

// URL

/** The address as text. */
export let hrefOf: (url: URL) => string;
export let isURL: (value: unknown) => value is URL;

/** The parts of an address, or undefined if it is none. */
export function parseUrl(url: string, base?: string): UrlParts | undefined {
  const parts = host.urlParse(url, base);
  return parts === undefined ? undefined : (jsonParse(parts) as UrlParts);
}

export class URL {
  #parts: UrlParts;
  #params: URLSearchParams | undefined = undefined;

  static {
    hrefOf = (url) => url.#parts.href;
    isURL = (value): value is URL => isObject(value) && #parts in value;
    setQuery = (url, query) => {
      url.#parts = jsonParse(host.urlSet(url.#parts.href, 'search', query)) as UrlParts;
    };
  }

  constructor(url: unknown, base: unknown = undefined) {
    if (url === internal) {
      this.#parts = base as UrlParts;
      return;
    }
    requireArguments(arguments.length, 1, 'URL constructor');
    const text = toUSVString(url);
    const baseText = base === undefined ? undefined : toUSVString(base);
    const parts = parseUrl(text, baseText);
    if (parts === undefined) throw new TypeError(`Invalid URL: ${text}${baseText === undefined ? '' : ` with base ${baseText}`}`);
    this.#parts = parts;
  }

  static parse(url: unknown, base: unknown = undefined): URL | null {
    requireArguments(arguments.length, 1, 'URL.parse');
    const text = toUSVString(url);
    const parts = parseUrl(text, base === undefined ? undefined : toUSVString(base));
    return parts === undefined ? null : new URL(internal, parts);
  }

  static canParse(url: unknown, base: unknown = undefined): boolean {
    requireArguments(arguments.length, 1, 'URL.canParse');
    const text = toUSVString(url);
    return host.urlParse(text, base === undefined ? undefined : toUSVString(base)) !== undefined;
  }

  get href(): string {
    return this.#parts.href;
  }
  set href(value: unknown) {
    const text = toUSVString(value);
    const parts = parseUrl(text);
    if (parts === undefined) throw new TypeError(`Invalid URL: ${text}`);
    this.#parts = parts;
    this.#readQuery();
  }

  get origin(): string {
    return this.#parts.origin;
  }

  get protocol(): string {
    return this.#parts.protocol;
  }
  set protocol(value: unknown) {
    this.#set('protocol', value);
  }

  get username(): string {
    return this.#parts.username;
  }
  set username(value: unknown) {
    this.#set('username', value);
  }

  get password(): string {
    return this.#parts.password;
  }
  set password(value: unknown) {
    this.#set('password', value);
  }

  get host(): string {
    return this.#parts.host;
  }
  set host(value: unknown) {
    this.#set('host', value);
  }

  get hostname(): string {
    return this.#parts.hostname;
  }
  set hostname(value: unknown) {
    this.#set('hostname', value);
  }

  get port(): string {
    return this.#parts.port;
  }
  set port(value: unknown) {
    this.#set('port', value);
  }

  get pathname(): string {
    return this.#parts.pathname;
  }
  set pathname(value: unknown) {
    this.#set('pathname', value);
  }

  get search(): string {
    return this.#parts.search;
  }
  set search(value: unknown) {
    this.#set('search', value);
    this.#readQuery();
  }

  get searchParams(): URLSearchParams {
    return (this.#params ??= paramsOfUrl(pairsOfQuery(this.#parts.search), this));
  }

  get hash(): string {
    return this.#parts.hash;
  }
  set hash(value: unknown) {
    this.#set('hash', value);
  }

  toJSON(): string {
    return this.#parts.href;
  }

  toString(): string {
    return this.#parts.href;
  }

  #set(part: string, value: unknown): void {
    const href = this.#parts.href;
    this.#parts = jsonParse(host.urlSet(href, part, toUSVString(value))) as UrlParts;
  }

  #readQuery(): void {
    if (this.#params !== undefined) setPairs(this.#params, pairsOfQuery(this.#parts.search));
  }
}

function pairsOfQuery(search: string): Pair[] {
  return parseUrlencoded(stringSlice(search, 1));
}

export function install(global: object, theHost: Host): void {
  host = theHost;
  defineInterface(global, 'URL', URL);
  defineInterface(global, 'URLSearchParams', URLSearchParams);
  definePairIterable(URLSearchParams, 'URLSearchParams', pairsOf);
  installPattern(global);
}


// Headers: Fetch Standard, section 5.1. A list is one of lower-case names and values; what a program may do with it is said by the guard.
//
// No header is forbidden to programs, other than in a browser: a server must set cookies and pass them on. What frames a message
// (Content-Length, Transfer-Encoding, Connection, Host, …) is the worker's, which ignores what a program says of it.

import type { HeaderPair } from './host.ts';
import { append, arrayJoin, arraySort, regexpExec, stringCharCodeAt, stringSlice, stringToLowerCase } from './primordials.ts';
import { parseMime } from './mime.ts';
import {
  defineInterface, definePairIterable, isObject, iteratorSymbol, requireArguments, sequenceFrom, toByteString, toRecord, toSequence,
} from './webidl.ts';

export type Guard = 'none' | 'request' | 'request-no-cors' | 'response' | 'immutable';

export interface HeaderList {
  pairs: HeaderPair[];
}

let listOf: (headers: Headers) => HeaderList;
let newHeaders: (list: HeaderList, guard: Guard) => Headers;
let isHeaders: (value: unknown) => value is Headers;
let setGuard: (headers: Headers, guard: Guard) => void;
let appendTo: (headers: Headers, name: string, value: string) => void;
let sortedOf: (headers: Headers) => HeaderPair[];

export class Headers {
  #list: HeaderList = { pairs: [] };
  #guard: Guard = 'none';
  #sorted: HeaderPair[] | undefined;

  constructor(init: unknown = undefined) {
    if (init !== undefined) fill(this, toHeadersInit(init));
  }

  append(name: string, value: string): void {
    void this.#list;
    requireArguments(arguments.length, 2, 'Headers.append');
    appendTo(this, toByteString(name), toByteString(value));
  }

  delete(name: string): void {
    void this.#list;
    requireArguments(arguments.length, 1, 'Headers.delete');
    const key = validName(toByteString(name));
    if (!this.#mayChange()) return;
    if (this.#guard === 'request-no-cors' && !isNoCorsName(key) && key !== 'range') return;
    this.#remove(key);
  }

  get(name: string): string | null {
    void this.#list;
    requireArguments(arguments.length, 1, 'Headers.get');
    return getFrom(this.#list, validName(toByteString(name)));
  }

  getSetCookie(): string[] {
    const values: string[] = [];
    const pairs = this.#list.pairs;
    for (let i = 0; i < pairs.length; i++) {
      const pair = pairs[i] as HeaderPair;
      if (pair[0] === 'set-cookie') append(values, pair[1]);
    }
    return values;
  }

  has(name: string): boolean {
    void this.#list;
    requireArguments(arguments.length, 1, 'Headers.has');
    return hasIn(this.#list, validName(toByteString(name)));
  }

  set(name: string, value: string): void {
    void this.#list;
    requireArguments(arguments.length, 2, 'Headers.set');
    const typedName = toByteString(name);
    const content = normalize(toByteString(value));
    const key = validName(typedName);
    validValue(content);
    if (!this.#mayChange()) return;
    if (this.#guard === 'request-no-cors' && !isNoCorsSafelisted(key, content)) return;
    setIn(this.#list, key, content);
    this.#sorted = undefined;
    this.#dropPrivileged();
  }

  #mayChange(): boolean {
    if (this.#guard === 'immutable') throw new TypeError('The headers are immutable');
    return true;
  }

  #remove(key: string): void {
    this.#sorted = undefined;
    removeFrom(this.#list, key);
  }

  #dropPrivileged(): void {
    if (this.#guard === 'request-no-cors') this.#remove('range');
  }

  static {
    listOf = (headers) => headers.#list;
    isHeaders = (value): value is Headers => isObject(value) && #list in value;
    newHeaders = (list, guard) => {
      const headers = new Headers();
      headers.#list = list;
      headers.#guard = guard;
      return headers;
    };
    setGuard = (headers, guard) => {
      headers.#guard = guard;
    };
    appendTo = (headers, name, value) => {
      const content = normalize(value);
      const key = validName(name);
      validValue(content);
      if (!headers.#mayChange()) return;
      if (headers.#guard === 'request-no-cors') {
        const before = getFrom(headers.#list, key);
        if (!isNoCorsSafelisted(key, before === null ? content : `${before}, ${content}`)) return;
      }
      append(headers.#list.pairs, [key, content]);
      headers.#sorted = undefined;
      headers.#dropPrivileged();
    };
    sortedOf = (headers) => (headers.#sorted ??= sortAndCombine(headers.#list));
  }
}

export { appendTo, isHeaders, listOf, newHeaders, setGuard, sortedOf };

// Lists

export function getFrom(list: HeaderList, key: string): string | null {
  let found: string | null = null;
  const pairs = list.pairs;
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i] as HeaderPair;
    if (pair[0] === key) found = found === null ? pair[1] : `${found}, ${pair[1]}`;
  }
  return found;
}

export function hasIn(list: HeaderList, key: string): boolean {
  const pairs = list.pairs;
  for (let i = 0; i < pairs.length; i++) if ((pairs[i] as HeaderPair)[0] === key) return true;
  return false;
}

function setIn(list: HeaderList, key: string, value: string): void {
  const pairs: HeaderPair[] = [];
  let set = false;
  for (let i = 0; i < list.pairs.length; i++) {
    const pair = list.pairs[i] as HeaderPair;
    if (pair[0] !== key) append(pairs, pair);
    else if (!set) {
      append(pairs, [key, value]);
      set = true;
    }
  }
  if (!set) append(pairs, [key, value]);
  list.pairs = pairs;
}

function removeFrom(list: HeaderList, key: string): void {
  const pairs: HeaderPair[] = [];
  for (let i = 0; i < list.pairs.length; i++) if ((list.pairs[i] as HeaderPair)[0] !== key) append(pairs, list.pairs[i] as HeaderPair);
  list.pairs = pairs;
}

export function copyList(list: HeaderList): HeaderList {
  const pairs: HeaderPair[] = [];
  for (let i = 0; i < list.pairs.length; i++) append(pairs, list.pairs[i] as HeaderPair);
  return { pairs };
}

/** "Sort and combine": by name, with one entry for each but Set-Cookie. */
function sortAndCombine(list: HeaderList): HeaderPair[] {
  const sorted: HeaderPair[] = [];
  for (let i = 0; i < list.pairs.length; i++) {
    const pair = list.pairs[i] as HeaderPair;
    if (pair[0] === 'set-cookie') {
      append(sorted, pair);
      continue;
    }
    let first = true;
    for (let k = 0; k < i; k++) {
      if ((list.pairs[k] as HeaderPair)[0] === pair[0]) {
        first = false;
        break;
      }
    }
    if (first) append(sorted, [pair[0], getFrom(list, pair[0]) as string]);
  }
  // The engine's sort is stable, which keeps the cookies' order.
  return arraySort(sorted, (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
}

// Names and values

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const badInValue = /[\0\r\n]/;

/** In lower case; TypeError if it is no name. */
function validName(name: string): string {
  if (regexpExec(token, name) === null) throw new TypeError(`'${name}' is not a valid header name`);
  return stringToLowerCase(name);
}

export function isToken(text: string): boolean {
  return regexpExec(token, text) !== null;
}

function validValue(value: string): void {
  if (regexpExec(badInValue, value) !== null) throw new TypeError('The header value is not valid');
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

function normalize(value: string): string {
  let from = 0;
  let to = value.length;
  while (from < to && isSpace(stringCharCodeAt(value, from))) from++;
  while (to > from && isSpace(stringCharCodeAt(value, to - 1))) to--;
  return from === 0 && to === value.length ? value : stringSlice(value, from, to);
}

// What `no-cors` allows: Fetch Standard, section 2.2.2, "no-CORS-safelisted request-header".

function isNoCorsName(key: string): boolean {
  return key === 'accept' || key === 'accept-language' || key === 'content-language' || key === 'content-type';
}

const unsafeByte = /[\x00-\x08\x0a-\x1f"():<>?@[\\\]{}\x7f]/;
const languages = /^[0-9A-Za-z *,\-.;=]*$/;

function isNoCorsSafelisted(key: string, value: string): boolean {
  if (!isNoCorsName(key) || value.length > 128) return false;
  if (key === 'accept') return regexpExec(unsafeByte, value) === null;
  if (key !== 'content-type') return regexpExec(languages, value) !== null;
  if (regexpExec(unsafeByte, value) !== null) return false;
  const mime = parseMime(value);
  return mime !== undefined && (mime.essence === 'application/x-www-form-urlencoded' || mime.essence === 'multipart/form-data' || mime.essence === 'text/plain');
}

// Filling

export type HeadersInit = readonly (readonly [string, string])[];

/** `HeadersInit`: pairs, or a record. Another Headers is iterated as any sequence of pairs is. */
export function toHeadersInit(value: unknown): HeadersInit {
  if (!isObject(value)) throw new TypeError('The headers are neither a Headers, pairs nor an object');
  const method: unknown = (value as Record<PropertyKey, unknown>)[iteratorSymbol];
  if (method === undefined || method === null) return toRecord(value, toByteString, toByteString);
  if (typeof method !== 'function') throw new TypeError('The headers are not iterable');
  return sequenceFrom(
    value,
    method,
    (item) => {
      const pair = toSequence(item, toByteString, 'A header');
      return pair as unknown as [string, string];
    },
    'The headers',
  );
}

export function fill(headers: Headers, init: HeadersInit): void {
  for (let i = 0; i < init.length; i++) {
    const pair = init[i] as readonly string[];
    if (pair.length !== 2) throw new TypeError(`A header has a name and a value, not ${pair.length} parts: ${arrayJoin(pair, ', ')}`);
    appendTo(headers, pair[0] as string, pair[1] as string);
  }
}

export function install(global: object): void {
  defineInterface(global, 'Headers', Headers, { length: 0 });
  definePairIterable(Headers, 'Headers', (headers: Headers) => sortedOf(headers));
}

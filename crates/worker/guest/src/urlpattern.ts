// URLPattern of the URL Pattern Standard: the interface. Parsing and matching of patterns is the bundled `urlpattern-polyfill`.

import { URLPattern as Matcher } from 'urlpattern-polyfill/urlpattern';
import { defineValue, dictionary, defineInterface, isObject, member, toUSVString } from './webidl.ts';
import { append, regexpExec, stringCharCodeAt, stringSlice } from './primordials.ts';

const components = ['protocol', 'username', 'password', 'hostname', 'port', 'pathname', 'search', 'hash'] as const;
// In the order in which a dictionary's members are read.
const members = ['baseURL', 'hash', 'hostname', 'password', 'pathname', 'port', 'protocol', 'search', 'username'] as const;

type Init = Partial<Record<(typeof members)[number], string>>;
type Found = Record<(typeof components)[number], { input: string; groups: Record<string, string | undefined> }>;
interface Match extends Record<string, unknown> {
  inputs: (string | Init)[];
}
interface NativeMatcher extends Record<(typeof components)[number], string> {
  readonly hasRegExpGroups: boolean;
  test(input: string | Init, baseURL?: string): boolean;
  exec(input: string | Init, baseURL?: string): Found | null;
}
const NativeMatcher = Matcher as unknown as new (input: string | Init, ...rest: unknown[]) => NativeMatcher;

export class URLPattern {
  #matcher: NativeMatcher;

  constructor(input: unknown = undefined, baseURL: unknown = undefined, options: unknown = undefined) {
    const converted = amended(toInput(input), true);
    const hasBase = arguments.length > 2 || (baseURL !== undefined && baseURL !== null && !isObject(baseURL));
    const base = hasBase ? toUSVString(baseURL) : undefined;
    const dict = dictionary(hasBase ? options : baseURL, 'URLPattern constructor: options');
    const ignoreCase = member(dict, 'ignoreCase', (value) => !!value) === true;
    if (base !== undefined && typeof converted !== 'string') throw new TypeError('URLPattern constructor: a base URL goes with a string only');
    this.#matcher = base === undefined ? new NativeMatcher(converted, { ignoreCase }) : new NativeMatcher(converted, base, { ignoreCase });
  }

  test(input: unknown = undefined, baseURL: unknown = undefined): boolean {
    const matcher = this.#matcher;
    const converted = toInput(input);
    const base = baseURL === undefined ? undefined : toUSVString(baseURL);
    requireStringWithBase(converted, base);
    return matcher.test(amended(converted, false), base);
  }

  exec(input: unknown = undefined, baseURL: unknown = undefined): Match | null {
    const matcher = this.#matcher;
    const converted = toInput(input);
    const base = baseURL === undefined ? undefined : toUSVString(baseURL);
    requireStringWithBase(converted, base);
    const found = matcher.exec(amended(converted, false), base);
    if (found === null) return null;
    const match: Match = { inputs: [converted] };
    if (base !== undefined) append(match.inputs, base);
    for (let i = 0; i < components.length; i++) {
      const name = components[i] as (typeof components)[number];
      defineValue(match, name, { input: found[name].input, groups: found[name].groups }, true);
    }
    return match;
  }

  get protocol(): string {
    return this.#matcher.protocol;
  }
  get username(): string {
    return this.#matcher.username;
  }
  get password(): string {
    return this.#matcher.password;
  }
  get hostname(): string {
    return this.#matcher.hostname;
  }
  get port(): string {
    return this.#matcher.port;
  }
  get pathname(): string {
    return this.#matcher.pathname;
  }
  get search(): string {
    return this.#matcher.search;
  }
  get hash(): string {
    return this.#matcher.hash;
  }
  get hasRegExpGroups(): boolean {
    return this.#matcher.hasRegExpGroups;
  }
}

function toInput(value: unknown): string | Init {
  if (value !== undefined && value !== null && !isObject(value)) return toUSVString(value);
  const dict = dictionary(value, 'URLPattern: input');
  const init: Init = {};
  for (let i = 0; i < members.length; i++) {
    const name = members[i] as (typeof members)[number];
    const text = member(dict, name, toUSVString);
    if (text !== undefined) defineValue(init, name, text, true);
  }
  return init;
}

/** The same for the library. */
function amended(input: string | Init, isPattern: boolean): string | Init {
  if (typeof input === 'string') return input;
  const init: Init = { ...input };
  if (init.hostname !== undefined && !(isPattern && regexpExec(syntax, init.hostname) !== null)) init.hostname = leading(beforeEnd, init.hostname);
  if (init.port !== undefined && !(isPattern && regexpExec(syntax, init.port) !== null)) init.port = leading(digits, init.port);
  return init;
}

// What the library lacks: a host ends where a URL's would, a port after its digits, and neither has tabs and line ends in it.
const syntax = /[{}()*:+?\\]/;
const beforeEnd = /^[^/?#]+/;
const digits = /^[0-9]+/;

function leading(part: RegExp, text: string): string {
  let clean = '';
  for (let i = 0; i < text.length; i++) {
    const code = stringCharCodeAt(text, i);
    if (code !== 0x09 && code !== 0x0a && code !== 0x0d) clean += stringSlice(text, i, i + 1);
  }
  return regexpExec(part, clean)?.[0] ?? clean;
}

function requireStringWithBase(input: string | Init, base: string | undefined): void {
  if (base !== undefined && typeof input !== 'string') throw new TypeError('URLPattern: a base URL goes with a string only');
}

export function installPattern(global: object): void {
  defineInterface(global, 'URLPattern', URLPattern);
}

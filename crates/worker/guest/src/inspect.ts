// How a value looks in the log: as an expression where there is one, never running the program's code (no getters, no toString, no proxies'
// traps beyond what cannot be avoided), and never longer than a line of the log may be.

import {
  append, arrayJoin, arraySlice, bufferDetached, bytesIn, getOwnPropertyDescriptor, getPrototypeOf, getterOf, hasOwn, isArray,
  isArrayBuffer, isSharedArrayBuffer, isView, jsonStringify, mapForEach, mapGet, mapSize, ownKeys, reflectApply, regexpExec, setForEach,
  stringIndexOf, stringSlice, stringSplit, stringStartsWith, typedArrayName, uncurry, viewLength,
} from './primordials.ts';
import { isDOMException, isObject } from './webidl.ts';

const CHARACTERS_MAX = 16_384;
const ENTRIES_MAX = 100;
const WIDTH_MAX = 76;
/** Longest array of which names beside the indices are looked for: the engine has to list all its keys to find them. */
const NAMES_LOOKED_FOR_MAX = 10_000;
const DEPTH = 3;

const NativeString = String;
const { toStringTag } = Symbol as { toStringTag: symbol };
const dateTime = uncurry(Date.prototype.getTime);
const dateISO = uncurry(Date.prototype.toISOString);
const regexpSource = getterOf<string>(RegExp.prototype, 'source');
const regexpFlags = getterOf<string>(RegExp.prototype, 'flags');
const setSize = getterOf<number>(Set.prototype, 'size');
const symbolToString = uncurry(Symbol.prototype.toString);
const functionToString = uncurry(Function.prototype.toString);
const weakMapHas = uncurry(WeakMap.prototype.has) as (self: WeakMap<object, unknown>, key: object) => boolean;
const weakSetHas = uncurry(WeakSet.prototype.has) as (self: WeakSet<object>, key: object) => boolean;
const promiseThen = Promise.prototype.then;
const { is: sameValue } = Object;
const isError = (Error as unknown as { isError: (value: unknown) => boolean }).isError;
const numberValue = uncurry(Number.prototype.valueOf) as (self: unknown) => number;
const stringValue = uncurry(String.prototype.valueOf) as (self: unknown) => string;
const booleanValue = uncurry(Boolean.prototype.valueOf) as (self: unknown) => boolean;

const errorStack = getterOf<unknown>(Error.prototype, 'stack');

interface Walk {
  depth: number;
  /** What is being shown above, to see cycles. */
  above: object[];
  left: number;
}

/** Interfaces of the platform, by prototype: the names of accessors whose values are shown, or the pairs that an object holds. */
export const shown = new Map<object, readonly string[] | ((object: object) => readonly (readonly [unknown, unknown])[])>();

export function inspect(value: unknown, depth: number = DEPTH): string {
  return show(value, { depth, above: [], left: CHARACTERS_MAX }, 0);
}

function show(value: unknown, walk: Walk, indent: number): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
      return sameValue(value, -0) ? '-0' : `${value}`;
    case 'bigint':
      return `${value}n`;
    case 'symbol':
      return symbolToString(value);
    case 'undefined':
    case 'boolean':
      return `${value}`;
    default:
      if (value === null) return 'null';
  }
  const object = value as object;
  for (let i = 0; i < walk.above.length; i++) if (walk.above[i] === object) return '[Circular]';
  try {
    return showObject(object, walk, indent);
  } catch {
    // A proxy may throw at anything that is asked of it.
    return '[Object]';
  }
}

function quote(text: string): string {
  if (stringIndexOf(text, "'") < 0) return `'${escape(text)}'`;
  if (stringIndexOf(text, '"') < 0) return `"${escape(text)}"`;
  return `'${escape(text, true)}'`;
}

function escape(text: string, quotes = false): string {
  // JSON's escapes are those of the language; only its quotes are different.
  const inner = stringSlice(jsonStringify(text) as string, 1, -1);
  const parts = stringSplit(inner, '\\"');
  const plain = arrayJoin(parts, '"');
  return quotes ? arrayJoin(stringSplit(plain, "'"), "\\'") : plain;
}

/** The name of what made it, empty for plain objects, null for none. */
function maker(object: object): string | null {
  let at: object | null = getPrototypeOf(object);
  if (at === null) return null;
  for (; at !== null; at = getPrototypeOf(at)) {
    const constructor = getOwnPropertyDescriptor(at, 'constructor');
    if (typeof constructor?.value === 'function') {
      const name = getOwnPropertyDescriptor(constructor.value as object, 'name');
      if (typeof name?.value === 'string' && name.value !== '') return name.value;
    }
  }
  return '';
}

function tagOf(object: object): string {
  for (let at: object | null = object; at !== null; at = getPrototypeOf(at)) {
    const tag = getOwnPropertyDescriptor(at, toStringTag);
    if (tag !== undefined) return typeof tag.value === 'string' ? tag.value : '';
  }
  return '';
}

function showObject(object: object, walk: Walk, indent: number): string {
  const name = maker(object);
  if (typeof object === 'function') return withProperties(functionLabel(object, name), object, walk, indent, skipFunction);
  if (isError(object) || isDOMException(object)) return showError(object as Error, walk, indent);
  if (isArray(object)) {
    const prefix = name === 'Array' ? '' : `${name ?? '[Array: null prototype]'}(${object.length}) `;
    if (walk.depth < 0) return '[Array]';
    return list(`${prefix}[`, arrayItems(object, walk, indent), ']', indent);
  }
  const special = showSpecial(object, name, walk, indent);
  if (special !== undefined) return special;
  const tag = tagOf(object);
  let prefix = name === null ? '[Object: null prototype] ' : name === 'Object' || name === '' ? '' : `${name} `;
  if (tag !== '' && tag !== name) prefix = `${prefix === '' ? 'Object ' : prefix}[${tag}] `;
  if (walk.depth < 0) return `[${name ?? 'Object'}]`;
  return list(`${prefix}{`, propertyItems(object, walk, indent, skipNone), '}', indent);
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

function showSpecial(object: object, name: string | null, walk: Walk, indent: number): string | undefined {
  const title = name ?? 'null prototype';
  if (isView(object)) {
    const kind = typedArrayName(object);
    if (kind === undefined) return `DataView(${viewLength(object)})`;
    const array = object as unknown as ArrayLike<unknown>;
    if (walk.depth < 0) return `[${kind}]`;
    return list(`${title}(${array.length}) [`, numberItems(array), ']', indent);
  }
  if (isArrayBuffer(object) || isSharedArrayBuffer(object)) {
    if (isArrayBuffer(object) && bufferDetached(object)) return `${title} { (detached), byteLength: 0 }`;
    const bytes = bytesIn(object);
    return `${title} { byteLength: ${bytes.length}, bytes: <${arrayJoin(hexItems(bytes), ' ')}> }`;
  }
  const tag = tagOf(object);
  // Brands are told by calling what only works on them; the tag says what is worth a try.
  if (stringStartsWith(tag, 'Map')) {
    const size = attempt(() => mapSize(object as Map<unknown, unknown>));
    if (size !== undefined) {
      if (walk.depth < 0) return `[${title}]`;
      return list(`${title}(${size}) {`, mapItems(object as Map<unknown, unknown>, walk, indent), '}', indent);
    }
  }
  if (stringStartsWith(tag, 'Set')) {
    const size = attempt(() => setSize(object));
    if (size !== undefined) {
      if (walk.depth < 0) return `[${title}]`;
      return list(`${title}(${size}) {`, setItems(object as Set<unknown>, walk, indent), '}', indent);
    }
  }
  if (tag === 'Promise' && attempt(() => promiseThen) !== undefined) return withProperties(`${title} {}`, object, walk, indent, skipNone);
  if (tag === 'WeakMap' && attempt(() => weakMapHas(object as WeakMap<object, unknown>, object)) !== undefined) return `${title} { <items unknown> }`;
  if (tag === 'WeakSet' && attempt(() => weakSetHas(object as WeakSet<object>, object)) !== undefined) return `${title} { <items unknown> }`;
  const time = attempt(() => dateTime(object as Date));
  if (time !== undefined) return withProperties(time === time ? dateISO(object as Date) : 'Invalid Date', object, walk, indent, skipNone);
  if (tag === '') {
    const source = name === 'Object' ? undefined : attempt(() => regexpSource(object));
    if (source !== undefined && attempt(() => regexpExec(object as RegExp, '')) !== undefined) {
      return withProperties(`/${source}/${regexpFlags(object)}`, object, walk, indent, skipRegexp);
    }
    const number = attempt(() => numberValue(object));
    if (number !== undefined) return `[Number: ${show(number, walk, indent)}]`;
    const text = attempt(() => stringValue(object));
    if (text !== undefined) return `[String: ${quote(text)}]`;
    const truth = attempt(() => booleanValue(object));
    if (truth !== undefined) return `[Boolean: ${truth}]`;
  }
  const members = shownMembers(object);
  if (members === undefined) return undefined;
  if (walk.depth < 0) return `[${title}]`;
  // A prototype has the interface's members, but is none of its objects.
  const items = attempt(() => memberItems(object, members, walk, indent));
  return items === undefined ? undefined : list(`${title} {`, items, '}', indent);
}

type Members = readonly string[] | ((object: object) => readonly (readonly [unknown, unknown])[]);

function shownMembers(object: object): Members | undefined {
  for (let at: object | null = getPrototypeOf(object); at !== null; at = getPrototypeOf(at)) {
    const members = mapGet(shown, at);
    if (members !== undefined) return members;
  }
  return undefined;
}

function memberItems(object: object, members: Members, walk: Walk, indent: number): string[] {
  const items: string[] = [];
  const add = (label: string, value: unknown): void => {
    const text = show(value, walk, indent + 2);
    walk.left -= text.length;
    append(items, `${label}: ${text}`);
  };
  inside(object, walk, () => {
    if (typeof members === 'function') {
      const pairs = members(object);
      for (let i = 0; i < pairs.length && i < ENTRIES_MAX; i++) add(keyLabel((pairs[i] as readonly [string, unknown])[0]), (pairs[i] as readonly unknown[])[1]);
      return;
    }
    for (let i = 0; i < members.length; i++) add(members[i] as string, accessorOf(object, members[i] as string)(object));
  });
  return items;
}

/** The platform's getter, though a program's class may have another of that name. */
function accessorOf(object: object, name: string): (object: object) => unknown {
  for (let at: object | null = getPrototypeOf(object); at !== null; at = getPrototypeOf(at)) {
    if (mapGet(shown, at) === undefined) continue;
    const get = getOwnPropertyDescriptor(at, name)?.get;
    if (get !== undefined) return (self) => reflectApply(get, self, []);
  }
  return () => undefined;
}

function functionLabel(f: Function, name: string | null): string {
  const own = getOwnPropertyDescriptor(f, 'name')?.value as unknown;
  const called = typeof own === 'string' ? own : '';
  if (stringStartsWith(functionToString(f), 'class')) {
    const parent = getPrototypeOf(f) as Function | null;
    const above: unknown = parent === null ? undefined : getOwnPropertyDescriptor(parent, 'name')?.value;
    return `[class ${called === '' ? '(anonymous)' : called}${typeof above === 'string' && above !== '' ? ` extends ${above}` : ''}]`;
  }
  return `[${name === null || name === '' ? 'Function' : name}${called === '' ? ' (anonymous)' : `: ${called}`}]`;
}

function showError(error: Error, walk: Walk, indent: number): string {
  // The name may be inherited, and DOMException's are accessors of the platform's own.
  const name = plainText(attempt(() => error.name)) ?? 'Error';
  const message = plainText(attempt(() => error.message)) ?? '';
  const stack: unknown = hasOwn(error, 'stack') ? getOwnPropertyDescriptor(error, 'stack')?.value : attempt(() => errorStack(error));
  let text = message === '' ? name : `${name}: ${message}`;
  if (typeof stack === 'string' && stack !== '') {
    const lines = stringSplit(programFrames(stack), '\n');
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i] as string;
      if (line !== '') text += `\n${line}`;
    }
  } else {
    text = `[${text}]`;
  }
  return withProperties(text, error, walk, indent, skipError);
}

/** A stack without the frames below the program's, which are our own and those of the engine between them. */
export function programFrames(stack: string): string {
  const lines = stringSplit(stack, '\n');
  let last = lines.length;
  while (last > 0 && isOurs(lines[last - 1] as string)) last--;
  return last === 0 ? stack : arrayJoin(arraySlice(lines, 0, last), '\n');
}

function isOurs(line: string): boolean {
  return line === '' || stringIndexOf(line, '(prelude.js:') >= 0 || stringIndexOf(line, '(native)') >= 0;
}

function plainText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

const skipNone: readonly string[] = [];
const skipFunction: readonly string[] = ['length', 'name', 'prototype', 'arguments', 'caller'];
const skipError: readonly string[] = ['stack', 'message', 'name'];
const skipRegexp: readonly string[] = ['lastIndex'];

function withProperties(label: string, object: object, walk: Walk, indent: number, skip: readonly string[]): string {
  if (walk.depth < 0) return label;
  const items = propertyItems(object, walk, indent, skip);
  return items.length === 0 ? label : list(`${label} {`, items, '}', indent);
}

function inside(object: object, walk: Walk, action: () => void): void {
  append(walk.above, object);
  walk.depth--;
  action();
  walk.depth++;
  walk.above.length--;
}

function propertyItems(object: object, walk: Walk, indent: number, skip: readonly string[]): string[] {
  const items: string[] = [];
  inside(object, walk, () => {
    const keys = ownKeys(object);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as PropertyKey;
      if (items.length >= ENTRIES_MAX || walk.left <= 0) {
        append(items, `... ${keys.length - i} more`);
        break;
      }
      if (contains(skip, key)) continue;
      const property = getOwnPropertyDescriptor(object, key);
      const isCause = skip === skipError && (key === 'cause' || key === 'errors');
      if (property === undefined || (!property.enumerable && !isCause)) continue;
      const label = isCause ? `[${NativeString(key)}]` : keyLabel(key);
      append(items, `${label}: ${showProperty(property, walk, indent + 2)}`);
    }
  });
  return items;
}

function contains(list: readonly string[], key: PropertyKey): boolean {
  for (let i = 0; i < list.length; i++) if (list[i] === key) return true;
  return false;
}

function showProperty(property: PropertyDescriptor, walk: Walk, indent: number): string {
  if (hasOwn(property, 'value')) {
    const text = show(property.value, walk, indent);
    walk.left -= text.length;
    return text;
  }
  if (property.get !== undefined) return property.set === undefined ? '[Getter]' : '[Getter/Setter]';
  return '[Setter]';
}

const identifier = /^[A-Za-z_$][A-Za-z0-9_$]*$/;

function keyLabel(key: PropertyKey): string {
  if (typeof key === 'symbol') return `[${symbolToString(key)}]`;
  const text = NativeString(key);
  return regexpExec(identifier, text) === null ? quote(text) : text;
}

function arrayItems(array: readonly unknown[], walk: Walk, indent: number): string[] {
  const items: string[] = [];
  inside(array, walk, () => {
    let empty = 0;
    const flush = () => {
      if (empty > 0) append(items, `<${empty} empty item${empty === 1 ? '' : 's'}>`);
      empty = 0;
    };
    let i = 0;
    for (; i < array.length && items.length < ENTRIES_MAX && walk.left > 0; i++) {
      const property = getOwnPropertyDescriptor(array, i);
      if (property === undefined) {
        empty++;
        // A sparse array may be long: what follows no entry is not walked one by one.
        if (empty > ENTRIES_MAX) {
          empty += array.length - i - 1;
          i = array.length;
          break;
        }
        continue;
      }
      flush();
      append(items, showProperty(property, walk, indent + 2));
    }
    flush();
    if (i < array.length) append(items, `... ${array.length - i} more items`);
    const keys = array.length <= NAMES_LOOKED_FOR_MAX ? ownKeys(array) : [];
    // Names come after the indices.
    for (let k = keys.length - 1, shownNames = 0; k >= 0 && shownNames < ENTRIES_MAX; k--, shownNames++) {
      const key = keys[k] as PropertyKey;
      if (typeof key === 'string' && regexpExec(indexPattern, key) !== null) break;
      if (key === 'length') continue;
      const property = getOwnPropertyDescriptor(array, key);
      if (property?.enumerable) append(items, `${keyLabel(key)}: ${showProperty(property, walk, indent + 2)}`);
    }
  });
  return items;
}
const indexPattern = /^\d+$/;

function numberItems(array: ArrayLike<unknown>): string[] {
  const items: string[] = [];
  const length = array.length;
  for (let i = 0; i < length && i < ENTRIES_MAX; i++) {
    const value = array[i];
    append(items, typeof value === 'bigint' ? `${value}n` : sameValue(value, -0) ? '-0' : `${value as number}`);
  }
  if (length > ENTRIES_MAX) append(items, `... ${length - ENTRIES_MAX} more items`);
  return items;
}

function hexItems(bytes: Uint8Array): string[] {
  const digits = '0123456789abcdef';
  const items: string[] = [];
  for (let i = 0; i < bytes.length && i < 32; i++) {
    const byte = bytes[i] as number;
    append(items, `${digits[byte >> 4]}${digits[byte & 15]}`);
  }
  if (bytes.length > 32) append(items, `... ${bytes.length - 32} more`);
  return items;
}

function mapItems(map: Map<unknown, unknown>, walk: Walk, indent: number): string[] {
  const items: string[] = [];
  inside(map, walk, () => {
    mapForEach(map, (value, key) => {
      if (items.length < ENTRIES_MAX && walk.left > 0) {
        const text = `${show(key, walk, indent + 2)} => ${show(value, walk, indent + 2)}`;
        walk.left -= text.length;
        append(items, text);
      }
    });
    if (mapSize(map) > items.length) append(items, `... ${mapSize(map) - items.length} more items`);
  });
  return items;
}

function setItems(set: Set<unknown>, walk: Walk, indent: number): string[] {
  const items: string[] = [];
  inside(set, walk, () => {
    setForEach(set, (value) => {
      if (items.length < ENTRIES_MAX && walk.left > 0) {
        const text = show(value, walk, indent + 2);
        walk.left -= text.length;
        append(items, text);
      }
    });
    if (setSize(set) > items.length) append(items, `... ${setSize(set) - items.length} more items`);
  });
  return items;
}

/** On one line if that is short, else one item a line. */
function list(open: string, items: readonly string[], close: string, indent: number): string {
  if (items.length === 0) return `${open}${close}`;
  let width = open.length + indent;
  let broken = false;
  for (let i = 0; i < items.length; i++) {
    const item = items[i] as string;
    width += item.length + 2;
    if (stringIndexOf(item, '\n') >= 0) broken = true;
  }
  if (!broken && width <= WIDTH_MAX) return `${open} ${arrayJoin(items, ', ')} ${close}`;
  const margin = spaces(indent + 2);
  return `${open}\n${margin}${arrayJoin(items, `,\n${margin}`)}\n${spaces(indent)}${close}`;
}

function spaces(count: number): string {
  let text = '';
  for (let i = 0; i < count; i++) text += ' ';
  return text;
}

// Formatting with specifiers: Console Standard, section 2.2.

/** The text of the parameters of `console.log`. */
export function format(args: readonly unknown[]): string {
  let text = '';
  let next = 0;
  if (args.length > 1 && typeof args[0] === 'string') {
    const pattern = args[0];
    next = 1;
    let from = 0;
    for (let at = stringIndexOf(pattern, '%'); at >= 0 && at + 1 < pattern.length; at = stringIndexOf(pattern, '%', at)) {
      const specifier = pattern[at + 1] as string;
      if (specifier === '%') {
        text += stringSlice(pattern, from, at + 1);
        from = at += 2;
        continue;
      }
      const formatted = next < args.length ? formatOne(specifier, args[next]) : undefined;
      if (formatted === undefined) {
        at++;
        continue;
      }
      text += stringSlice(pattern, from, at) + formatted;
      next++;
      from = at += 2;
    }
    text += stringSlice(pattern, from);
  } else if (args.length > 0) {
    text = plain(args[0]);
    next = 1;
  }
  for (; next < args.length; next++) text += ` ${plain(args[next])}`;
  return text;
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value);
}

function formatOne(specifier: string, value: unknown): string | undefined {
  switch (specifier) {
    case 's':
      if (typeof value === 'string') return value;
      if (typeof value === 'bigint') return `${value}n`;
      return isObject(value) ? inspect(value, 0) : inspect(value);
    case 'd':
    case 'i':
      if (typeof value === 'symbol' || isObject(value)) return 'NaN';
      if (typeof value === 'bigint') return `${value}n`;
      return `${specifier === 'i' || typeof value === 'string' ? nativeParseInt(value as string, 10) : (value as number)}`;
    case 'f':
      return typeof value === 'symbol' || isObject(value) ? 'NaN' : `${nativeParseFloat(value as string)}`;
    case 'o':
    case 'O':
      return inspect(value, 4);
    case 'c':
      return '';
    default:
      return undefined;
  }
}
const nativeParseInt = parseInt;
const nativeParseFloat = parseFloat;

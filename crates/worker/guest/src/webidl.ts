// What the Web IDL Standard asks of every interface, so that each class here is written as an ordinary class.
//
// How to write an interface:
//
//   export class Thing {
//     #name: string;                                  // A private field is the brand: a foreign `this` ends in a TypeError by itself.
//     constructor(name: string) {
//       requireArguments(arguments.length, 1, "Thing constructor");
//       this.#name = toUSVString(name);
//     }
//     get name(): string { return this.#name; }
//     rename(name: string, loud: boolean = false) {   // Optional parameters have defaults, so that `length` is right.
//       requireArguments(arguments.length, 1, "Thing.rename");
//       …
//     }
//     static nameOf: (thing: Thing) => string;        // Never so: what other modules may see goes through a function set in a
//   }                                                 // `static {}` block, which programs cannot reach: see "Friends".
//   export function install(global: object) { defineInterface(global, "Thing", Thing, {…}); }
//
// Friends: `let nameOf: (thing: Thing) => string; class Thing { static { nameOf = (thing) => thing.#name; } }`, exported beside it.
//
// `defineInterface` makes members enumerable, sets `Symbol.toStringTag` and the name, and puts the class on the global, not enumerable.
// `definePairIterable` gives entries, keys, values, forEach and Symbol.iterator; `iteratorOf` is for other iterators.
// Conversions are named `to…`, take the value first, and throw what the standard says; dictionaries are read with `dictionary` and `member`.
// `newDOMException(message, name)` makes one without naming the global that a program may have replaced.

import {
  append, bufferDetached, bufferResizable, bytesIn, copyOf, defineProperty, floor, getOwnPropertyDescriptor, isArrayBuffer, isFiniteNumber,
  isNaNNumber, isSharedArrayBuffer, isView, IteratorPrototype, objectCreate, ownKeys, reflectApply, setPrototypeOf, stringCharCodeAt,
  stringToWellFormed, trunc, viewBuffer,
} from './primordials.ts';

const NativeString = String;
const NativeNumber = Number;
const NativeBigInt = BigInt;
const iteratorSymbol: typeof Symbol.iterator = Symbol.iterator;
const asyncIteratorSymbol: typeof Symbol.asyncIterator = Symbol.asyncIterator;
const toStringTag: typeof Symbol.toStringTag = Symbol.toStringTag;

/** Any class, as far as it matters here. */
export type Class = { prototype: object } & (abstract new (...args: never[]) => unknown);

type Descriptor = PropertyDescriptor & ThisType<unknown>;

/** A descriptor without a prototype, so that no property of Object.prototype is taken for part of it. */
export function descriptor(d: Descriptor): PropertyDescriptor {
  setPrototypeOf(d, null);
  return d;
}

/** Puts a value on an object as the platform does with interfaces and functions: writable and configurable. */
export function defineValue(target: object, key: PropertyKey, value: unknown, enumerable: boolean): void {
  defineProperty(target, key, descriptor({ value, writable: true, enumerable, configurable: true }));
}

export interface InterfaceOptions {
  /** `length` of the constructor, where the class's own differs. */
  length?: number;
  /** Constants, on both the class and its prototype. */
  constants?: Record<string, number>;
  /** The interface has no object on the global. */
  global?: false;
}

/** Gives a class the shape of an interface and puts it on the global object. */
export function defineInterface(global: object, name: string, cls: Class, options: InterfaceOptions = {}): void {
  shape(cls.prototype, true);
  shape(cls, false);
  defineProperty(cls.prototype, toStringTag, descriptor({ value: name, writable: false, enumerable: false, configurable: true }));
  defineProperty(cls, 'name', descriptor({ value: name, writable: false, enumerable: false, configurable: true }));
  if (options.length !== undefined) {
    defineProperty(cls, 'length', descriptor({ value: options.length, writable: false, enumerable: false, configurable: true }));
  }
  const constants = options.constants;
  if (constants !== undefined) {
    for (const key of ownKeys(constants)) {
      const constant = descriptor({ value: constants[key as string], writable: false, enumerable: true, configurable: false });
      defineProperty(cls, key, constant);
      defineProperty(cls.prototype, key, constant);
    }
  }
  if (options.global !== false) defineValue(global, name, cls, false);
}

function shape(target: object, isPrototype: boolean): void {
  for (const key of ownKeys(target)) {
    if (typeof key === 'symbol' || key === 'constructor') continue;
    if (!isPrototype && (key === 'length' || key === 'name' || key === 'prototype')) continue;
    const member = getOwnPropertyDescriptor(target, key) as PropertyDescriptor;
    member.enumerable = true;
    defineProperty(target, key, descriptor(member));
  }
}

/** Puts operations on a namespace or global: enumerable, named as their keys. */
export function defineFunctions(target: object, functions: Record<string, unknown>): void {
  for (const key of ownKeys(functions)) defineValue(target, key, functions[key as string], true);
}

/** "Illegal invocation", where no private field throws by itself. */
export function illegalInvocation(): TypeError {
  return new TypeError('Illegal invocation');
}

export function requireArguments(given: number, required: number, what: string): void {
  if (given < required) {
    throw new TypeError(`${what}: ${required} argument${required === 1 ? '' : 's'} required, but only ${given} present`);
  }
}

// Exceptions

const NativeDOMException = (globalThis as unknown as { DOMException: new (message?: string, name?: string) => DOMExceptionLike }).DOMException;

export interface DOMExceptionLike extends Error {
  readonly code: number;
}

export function newDOMException(message: string, name: string): DOMExceptionLike {
  return new NativeDOMException(message, name);
}

export function isDOMException(value: unknown): value is DOMExceptionLike {
  return value instanceof NativeDOMException;
}

// Conversions

export function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

export function toDOMString(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'symbol') throw new TypeError('Cannot convert a Symbol to a string');
  return NativeString(value);
}

/** Lone surrogates become U+FFFD. */
export function toUSVString(value: unknown): string {
  return stringToWellFormed(toDOMString(value));
}

/** A string of which each character is a byte. */
export function toByteString(value: unknown): string {
  const text = toDOMString(value);
  for (let i = 0; i < text.length; i++) {
    if (stringCharCodeAt(text, i) > 255) throw new TypeError(`Cannot convert to ByteString: the character at ${i} is greater than 255`);
  }
  return text;
}

/** One of the values of an enumeration. */
export function toEnum<T extends string>(value: unknown, values: readonly T[], what: string): T {
  const text = toDOMString(value);
  for (let i = 0; i < values.length; i++) if (values[i] === text) return text as T;
  throw new TypeError(`${what}: '${text}' is not a valid value`);
}

/** `[EnforceRange]` throws, `[Clamp]` takes the nearest, neither wraps around. */
export type Range = 'wrap' | 'enforce' | 'clamp';

export function toUnsignedShort(value: unknown, range: Range = 'wrap'): number {
  return toInteger(value, 16, false, range);
}
export function toLong(value: unknown, range: Range = 'wrap'): number {
  return toInteger(value, 32, true, range);
}
export function toUnsignedLong(value: unknown, range: Range = 'wrap'): number {
  return toInteger(value, 32, false, range);
}
export function toLongLong(value: unknown, range: Range = 'wrap'): number {
  return toInteger(value, 64, true, range);
}
export function toUnsignedLongLong(value: unknown, range: Range = 'wrap'): number {
  return toInteger(value, 64, false, range);
}

function toInteger(value: unknown, bits: number, signed: boolean, range: Range): number {
  if (typeof value === 'bigint') throw new TypeError('Cannot convert a BigInt to a number');
  const number = NativeNumber(value);
  // Beyond 53 bits the standard's limits are those of what a number can hold exactly.
  const highest = bits === 64 ? 9007199254740991 : signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const lowest = !signed ? 0 : bits === 64 ? -9007199254740991 : -(2 ** (bits - 1));
  if (range === 'enforce') {
    if (!isFiniteNumber(number)) throw new TypeError(`${number} is not a finite number`);
    const whole = trunc(number) + 0;
    if (whole < lowest || whole > highest) throw new TypeError(`${number} is outside the range from ${lowest} to ${highest}`);
    return whole;
  }
  if (range === 'clamp') {
    if (isNaNNumber(number)) return 0;
    const clamped = number < lowest ? lowest : number > highest ? highest : number;
    // To the nearest integer, and of two equally near ones to the even one.
    const below = floor(clamped);
    const rest = clamped - below;
    const rounded = rest < 0.5 ? below : rest > 0.5 ? below + 1 : below % 2 === 0 ? below : below + 1;
    return rounded + 0;
  }
  if (!isFiniteNumber(number)) return 0;
  const whole = trunc(number) + 0;
  if (whole >= lowest && whole <= highest) return whole;
  if (bits === 64) return wrap64(whole, signed);
  const modulus = 2 ** bits;
  let wrapped = whole % modulus;
  if (wrapped < 0) wrapped += modulus;
  if (signed && wrapped > highest) wrapped -= modulus;
  return wrapped + 0;
}

function wrap64(whole: number, signed: boolean): number {
  const big = NativeBigInt(whole);
  const modulus = NativeBigInt('18446744073709551616');
  let wrapped = big % modulus;
  const zero = NativeBigInt(0);
  if (wrapped < zero) wrapped += modulus;
  if (signed && wrapped >= NativeBigInt('9223372036854775808')) wrapped -= modulus;
  return NativeNumber(wrapped);
}

export function toUnrestrictedDouble(value: unknown): number {
  if (typeof value === 'bigint') throw new TypeError('Cannot convert a BigInt to a number');
  return NativeNumber(value);
}

export function toDouble(value: unknown): number {
  const number = toUnrestrictedDouble(value);
  if (!isFiniteNumber(number)) throw new TypeError('The value is not a finite number');
  return number;
}

/** A value that may be a dictionary: undefined and null stand for an empty one, primitives are refused. */
export function dictionary(value: unknown, what: string): Record<string, unknown> {
  if (value === undefined || value === null) return emptyDictionary;
  if (!isObject(value)) throw new TypeError(`${what} is not an object`);
  return value as Record<string, unknown>;
}
const emptyDictionary: Record<string, unknown> = objectCreate(null);

/** A member converted, or undefined if it is absent. Members must be read in the order that the standard gives (lexicographic). */
export function member<T>(dict: Record<string, unknown>, key: string, convert: (value: unknown) => T): T | undefined {
  const value = dict[key];
  return value === undefined ? undefined : convert(value);
}

export function toFunction(value: unknown, what: string): (...args: unknown[]) => unknown {
  if (typeof value !== 'function') throw new TypeError(`${what} is not a function`);
  return value as (...args: unknown[]) => unknown;
}

/** `sequence<T>`: anything iterable. */
export function toSequence<T>(value: unknown, convert: (value: unknown) => T, what: string): T[] {
  if (!isObject(value)) throw new TypeError(`${what} is not iterable`);
  const method: unknown = (value as Record<PropertyKey, unknown>)[iteratorSymbol];
  if (typeof method !== 'function') throw new TypeError(`${what} is not iterable`);
  return sequenceFrom(value, method, convert, what);
}

/** `sequence<T>` where the iterator method was read already (a union's conversion must read it once). */
export function sequenceFrom<T>(value: object, method: Function, convert: (value: unknown) => T, what: string): T[] {
  const iterator: unknown = reflectApply(method, value, []);
  if (!isObject(iterator)) throw new TypeError(`${what} is not iterable`);
  const next = (iterator as { next: unknown }).next;
  const list: T[] = [];
  for (;;) {
    const result: unknown = reflectApply(toFunction(next, 'next'), iterator, []);
    if (!isObject(result)) throw new TypeError('The result of an iterator is not an object');
    if ((result as { done?: unknown }).done) return list;
    append(list, convert((result as { value?: unknown }).value));
  }
}

/** `record<K, V>`: own enumerable properties in order. */
export function toRecord<V>(
  value: object, convertKey: (key: unknown) => string, convertValue: (value: unknown) => V,
): [string, V][] {
  const list: [string, V][] = [];
  const at = new Map<string, [string, V]>();
  const keys = ownKeys(value);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as PropertyKey;
    const property = getOwnPropertyDescriptor(value, key);
    if (property === undefined || !property.enumerable) continue;
    const typedKey = convertKey(key);
    const typedValue = convertValue((value as Record<PropertyKey, unknown>)[key]);
    const before = recordGet(at, typedKey);
    if (before !== undefined) {
      before[1] = typedValue;
      continue;
    }
    const pair: [string, V] = [typedKey, typedValue];
    recordSet(at, typedKey, pair);
    append(list, pair);
  }
  return list;
}
const recordGet = (map: Map<string, unknown>, key: string) => reflectApply(nativeMapGet, map, [key]);
const recordSet = (map: Map<string, unknown>, key: string, value: unknown) => reflectApply(nativeMapSet, map, [key, value]);
const nativeMapGet = Map.prototype.get;
const nativeMapSet = Map.prototype.set;

// Buffers

/** Whether it is a buffer or a view, shared ones included. */
export function isBufferSource(value: unknown): value is ArrayBufferLike | ArrayBufferView {
  return isView(value) || isArrayBuffer(value) || isSharedArrayBuffer(value);
}

export interface BufferOptions {
  /** `[AllowShared]`. */
  shared?: boolean;
  /** `[AllowResizable]`. */
  resizable?: boolean;
}

/** `BufferSource`: its bytes, not copied (a detached one has none). TypeError for anything else. */
export function toBufferSource(value: unknown, what: string, options: BufferOptions = {}): Uint8Array<ArrayBuffer> {
  if (!isBufferSource(value)) throw new TypeError(`${what} is not an ArrayBuffer or a view of one`);
  const buffer = isView(value) ? viewBuffer(value) : value;
  if (isArrayBuffer(buffer)) {
    if (!options.resizable && !bufferDetached(buffer) && bufferResizable(buffer)) throw new TypeError(`${what} is resizable`);
  } else if (!options.shared) {
    throw new TypeError(`${what} is a SharedArrayBuffer`);
  }
  return bytesIn(value);
}

/** `BufferSource`: a copy of its bytes. */
export function copyBufferSource(value: unknown, what: string, options: BufferOptions = {}): Uint8Array<ArrayBuffer> {
  return copyOf(toBufferSource(value, what, options));
}

// Iterators

interface IteratorState {
  /** Answers the next result's value, or `done`. */
  next: () => unknown;
}

/** What `next` answers when there is nothing more. */
export const done: unique symbol = Symbol('done');

/**
 * A maker of iterators with the given name ("Headers Iterator"): what it makes has the standard's prototype, and calls the function for each
 * value until that answers `done`.
 */
export function iteratorClass(name: string): (next: () => unknown) => IterableIterator<unknown> {
  const states = new WeakMap<object, IteratorState>();
  const prototype: object = objectCreate(IteratorPrototype);
  const methods = {
    next(this: object): IteratorResult<unknown> {
      const state = reflectApply(nativeWeakMapGet, states, [this]) as IteratorState | undefined;
      if (state === undefined) throw illegalInvocation();
      const value = state.next();
      return value === done ? { value: undefined, done: true } : { value, done: false };
    },
  };
  defineValue(prototype, 'next', methods.next, true);
  defineProperty(prototype, toStringTag, descriptor({ value: name, writable: false, enumerable: false, configurable: true }));
  return (next) => {
    const iterator = objectCreate(prototype) as IterableIterator<unknown>;
    reflectApply(nativeWeakMapSet, states, [iterator, { next }]);
    return iterator;
  };
}
const nativeWeakMapGet = WeakMap.prototype.get;
const nativeWeakMapSet = WeakMap.prototype.set;

/**
 * `iterable<K, V>`: entries, keys, values, forEach and Symbol.iterator. `pairsOf` must throw TypeError if its parameter is no such object, and is
 * asked again for each step, as the standard wants changes during an iteration to be seen.
 */
export function definePairIterable<T extends object>(cls: Class, name: string, pairsOf: (object: T) => readonly (readonly [unknown, unknown])[]): void {
  const make = iteratorClass(`${name} Iterator`);
  const iterate = (object: T, pick: (pair: readonly [unknown, unknown]) => unknown): IterableIterator<unknown> => {
    pairsOf(object);
    let index = 0;
    return make(() => {
      const pair = pairsOf(object)[index];
      if (pair === undefined) return done;
      index++;
      return pick(pair);
    });
  };
  const methods = {
    entries(this: T) {
      return iterate(this, (pair) => [pair[0], pair[1]]);
    },
    keys(this: T) {
      return iterate(this, (pair) => pair[0]);
    },
    values(this: T) {
      return iterate(this, (pair) => pair[1]);
    },
    forEach(this: T, callback: unknown, thisArg: unknown = undefined) {
      pairsOf(this);
      requireArguments(arguments.length, 1, `${name}.forEach`);
      const call = toFunction(callback, 'callback');
      for (let index = 0; ; index++) {
        const pair = pairsOf(this)[index];
        if (pair === undefined) return;
        reflectApply(call, thisArg, [pair[1], pair[0], this]);
      }
    },
  };
  defineFunctions(cls.prototype, methods);
  defineValue(cls.prototype, iteratorSymbol, methods.entries, false);
}

// Illegal constructors

/** What a constructor that programs must not call is given by those who may. */
export const internal: unique symbol = Symbol('internal');

/** Throws unless the parameter is `internal`. */
export function requireInternal(token: unknown): void {
  if (token !== internal) throw new TypeError('Illegal constructor');
}

export { asyncIteratorSymbol, iteratorSymbol };

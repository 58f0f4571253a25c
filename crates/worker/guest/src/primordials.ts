// The engine's own functions, taken before any program runs.
//
// A program may overwrite `Array.prototype.push` or `Promise.prototype.then`. What is built into the sandbox goes on to work, because it
// calls the functions as they were: `uncurry(f)` gives `f` with its `this` as the first parameter. Nothing in here is exported to programs.

const { bind, call } = Function.prototype;

type Method<This, Args extends unknown[], Result> = (this: This, ...args: Args) => Result;

/** `f` as a function whose first parameter is `this`. */
export function uncurry<This, Args extends unknown[], Result>(
  f: Method<This, Args, Result>,
): (self: This, ...args: Args) => Result {
  return bind.call(call, f) as (self: This, ...args: Args) => Result;
}

/** The function that reads an accessor property, with the object as its parameter. */
export function getterOf<Result>(prototype: object, key: PropertyKey): (self: object) => Result {
  const descriptor = Object.getOwnPropertyDescriptor(prototype, key);
  if (descriptor?.get === undefined) throw new TypeError(`no getter for ${String(key)}`);
  return bind.call(call, descriptor.get) as (self: object) => Result;
}

export const {
  apply: reflectApply,
  construct: reflectConstruct,
  ownKeys,
  get: reflectGet,
} = Reflect;

export const {
  create: objectCreate,
  defineProperty,
  defineProperties,
  freeze,
  getOwnPropertyDescriptor,
  getPrototypeOf,
  setPrototypeOf,
  keys: objectKeys,
} = Object;
export const hasOwn: (object: object, key: PropertyKey) => boolean = Object.hasOwn;
export const ObjectPrototype: object = Object.prototype;

export const { isArray } = Array;
export const arrayJoin: (self: readonly unknown[], separator: string) => string = uncurry(Array.prototype.join);
export const arraySlice = uncurry(Array.prototype.slice) as <T>(self: readonly T[], start?: number, end?: number) => T[];
export const arraySplice = uncurry(Array.prototype.splice) as <T>(self: T[], start: number, count: number) => T[];
export const arrayShift = uncurry(Array.prototype.shift) as <T>(self: T[]) => T | undefined;
export const arraySort = uncurry(Array.prototype.sort) as <T>(self: T[], compare: (a: T, b: T) => number) => T[];

/** Appends without `push`, which a program may have replaced. */
export function append<T>(list: T[], value: T): void {
  list[list.length] = value;
}

export const stringSlice = uncurry(String.prototype.slice);
export const stringCharCodeAt = uncurry(String.prototype.charCodeAt);
export const stringIndexOf = uncurry(String.prototype.indexOf) as (self: string, search: string, from?: number) => number;
export const stringStartsWith = uncurry(String.prototype.startsWith) as (self: string, search: string) => boolean;
export const stringToLowerCase = uncurry(String.prototype.toLowerCase);
export const stringToUpperCase = uncurry(String.prototype.toUpperCase);
export const stringPadStart = uncurry(String.prototype.padStart);
export const stringPadEnd = uncurry(String.prototype.padEnd);
export const stringRepeat = uncurry(String.prototype.repeat);
export const stringToWellFormed = uncurry(String.prototype.toWellFormed);
export const stringSplit = uncurry(String.prototype.split as (this: string, separator: string) => string[]);
export const regexpExec = uncurry(RegExp.prototype.exec) as (self: RegExp, text: string) => RegExpExecArray | null;

export const mapGet = uncurry(Map.prototype.get) as <K, V>(self: Map<K, V>, key: K) => V | undefined;
export const mapSet = uncurry(Map.prototype.set) as <K, V>(self: Map<K, V>, key: K, value: V) => Map<K, V>;
export const mapHas = uncurry(Map.prototype.has) as <K, V>(self: Map<K, V>, key: K) => boolean;
export const mapDelete = uncurry(Map.prototype.delete) as <K, V>(self: Map<K, V>, key: K) => boolean;
export const mapSize = getterOf<number>(Map.prototype, 'size') as <K, V>(self: Map<K, V>) => number;
export const mapForEach = uncurry(Map.prototype.forEach) as <K, V>(self: Map<K, V>, each: (value: V, key: K) => void) => void;
export const setAdd = uncurry(Set.prototype.add) as <T>(self: Set<T>, value: T) => Set<T>;
export const setHas = uncurry(Set.prototype.has) as <T>(self: Set<T>, value: T) => boolean;
export const setDelete = uncurry(Set.prototype.delete) as <T>(self: Set<T>, value: T) => boolean;
export const setForEach = uncurry(Set.prototype.forEach) as <T>(self: Set<T>, each: (value: T) => void) => void;
export const weakMapGet = uncurry(WeakMap.prototype.get) as <K extends object, V>(self: WeakMap<K, V>, key: K) => V | undefined;
export const weakMapSet = uncurry(WeakMap.prototype.set) as <K extends object, V>(self: WeakMap<K, V>, key: K, value: V) => WeakMap<K, V>;
export const weakMapHas = uncurry(WeakMap.prototype.has) as <K extends object, V>(self: WeakMap<K, V>, key: K) => boolean;

const promiseThenUncurried = uncurry(Promise.prototype.then);
const NativePromise = Promise;
const promiseResolveBound = bind.call(Promise.resolve, Promise) as <T>(value: T | PromiseLike<T>) => Promise<T>;
const promiseRejectBound = bind.call(Promise.reject, Promise) as (reason: unknown) => Promise<never>;

/** `promise.then(fulfilled, rejected)` of a promise of the engine. */
export function promiseThen<T>(promise: Promise<T>, fulfilled: (value: T) => unknown, rejected?: (reason: unknown) => unknown): Promise<unknown> {
  return promiseThenUncurried(promise as Promise<unknown>, fulfilled as (value: unknown) => unknown, rejected) as Promise<unknown>;
}
/** A promise of the engine for any value, as `await` makes it. */
export const promiseResolve = promiseResolveBound;
export const promiseReject = promiseRejectBound;
export function newPromise<T>(executor: (resolve: (value: T | PromiseLike<T>) => void, reject: (reason: unknown) => void) => void): Promise<T> {
  return new NativePromise(executor);
}
/** So that nobody is told of a rejection that is looked at elsewhere. */
export function markHandled(promise: Promise<unknown>): void {
  promiseThen(promise, undefined as never, ignore);
}
function ignore(): void {}

export const jsonParse: (text: string) => unknown = JSON.parse;
export const jsonStringify: (value: unknown) => string | undefined = JSON.stringify;

export const { floor, trunc, abs, max: mathMax, min: mathMin } = Math;
export const { isFinite: isFiniteNumber, isNaN: isNaNNumber, isInteger } = Number;

/** The prototype that all iterators of the language share. */
export const AsyncIteratorPrototype: object = getPrototypeOf(getPrototypeOf(async function* () {}.prototype as object) as object) as object;
export const IteratorPrototype: object = getPrototypeOf(getPrototypeOf([][Symbol.iterator]()) as object) as object;
const TypedArrayPrototype = getPrototypeOf(Uint8Array.prototype) as object;

export const isView: (value: unknown) => value is ArrayBufferView = ArrayBuffer.isView;
export const typedArrayName = getterOf<string | undefined>(TypedArrayPrototype, Symbol.toStringTag);
const typedArrayBuffer = getterOf<ArrayBufferLike>(TypedArrayPrototype, 'buffer');
const typedArrayOffset = getterOf<number>(TypedArrayPrototype, 'byteOffset');
const typedArrayLength = getterOf<number>(TypedArrayPrototype, 'byteLength');
const dataViewBuffer = getterOf<ArrayBufferLike>(DataView.prototype, 'buffer');
const dataViewOffset = getterOf<number>(DataView.prototype, 'byteOffset');
const dataViewLength = getterOf<number>(DataView.prototype, 'byteLength');
export const bufferLength = getterOf<number>(ArrayBuffer.prototype, 'byteLength');
export const bufferSlice = uncurry(ArrayBuffer.prototype.slice);
export const bufferDetached = getterOf<boolean>(ArrayBuffer.prototype, 'detached');
export const bufferResizable = getterOf<boolean>(ArrayBuffer.prototype, 'resizable');
const sharedLength = getterOf<number>(SharedArrayBuffer.prototype, 'byteLength');
const bytesSet = uncurry(Uint8Array.prototype.set as (this: Uint8Array, source: ArrayLike<number>, offset?: number) => void);
const NativeUint8Array = Uint8Array;

/** Whether it is an ArrayBuffer, of whatever prototype. */
export function isArrayBuffer(value: unknown): value is ArrayBuffer {
  if (typeof value !== 'object' || value === null) return false;
  try {
    bufferLength(value);
    return true;
  } catch {
    return false;
  }
}

export function isSharedArrayBuffer(value: unknown): value is SharedArrayBuffer {
  if (typeof value !== 'object' || value === null) return false;
  try {
    sharedLength(value);
    return true;
  } catch {
    return false;
  }
}

export function viewBuffer(view: ArrayBufferView): ArrayBufferLike {
  return typedArrayName(view) === undefined ? dataViewBuffer(view) : typedArrayBuffer(view);
}
export function viewOffset(view: ArrayBufferView): number {
  return typedArrayName(view) === undefined ? dataViewOffset(view) : typedArrayOffset(view);
}
export function viewLength(view: ArrayBufferView): number {
  return typedArrayName(view) === undefined ? dataViewLength(view) : typedArrayLength(view);
}

/** The bytes of a buffer or a view, not copied. Empty where the buffer is detached. */
export function bytesIn(source: ArrayBufferLike | ArrayBufferView): Uint8Array<ArrayBuffer> {
  if (isView(source)) {
    const buffer = viewBuffer(source);
    if (isArrayBuffer(buffer) && bufferDetached(buffer)) return new NativeUint8Array();
    return new NativeUint8Array(buffer as ArrayBuffer, viewOffset(source), viewLength(source));
  }
  if (isArrayBuffer(source) && bufferDetached(source)) return new NativeUint8Array();
  return new NativeUint8Array(source as ArrayBuffer);
}

/** The bytes in a buffer of their own: what `host` functions take. */
export function bufferOf(bytes: Uint8Array): ArrayBuffer {
  const buffer = typedArrayBuffer(bytes);
  const offset = typedArrayOffset(bytes);
  const length = typedArrayLength(bytes);
  if (isArrayBuffer(buffer)) {
    if (offset === 0 && length === bufferLength(buffer)) return buffer;
    return bufferSlice(buffer, offset, offset + length) as ArrayBuffer;
  }
  return typedArrayBuffer(copyOf(bytes)) as ArrayBuffer;
}

/** Where the last byte of that value is, or -1. */
export const lastIndexOf = uncurry(Uint8Array.prototype.lastIndexOf as (this: Uint8Array, byte: number) => number);

/** Some of the bytes, not copied. */
export function subarray(bytes: Uint8Array<ArrayBuffer>, from: number, to: number = typedArrayLength(bytes)): Uint8Array<ArrayBuffer> {
  return new NativeUint8Array(typedArrayBuffer(bytes) as ArrayBuffer, typedArrayOffset(bytes) + from, to - from);
}

export function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new NativeUint8Array(typedArrayLength(bytes));
  bytesSet(copy, bytes);
  return copy;
}

export function concat(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (let i = 0; i < pieces.length; i++) length += typedArrayLength(pieces[i] as Uint8Array);
  const all = new NativeUint8Array(length);
  let at = 0;
  for (let i = 0; i < pieces.length; i++) {
    bytesSet(all, pieces[i] as Uint8Array, at);
    at += typedArrayLength(pieces[i] as Uint8Array);
  }
  return all;
}

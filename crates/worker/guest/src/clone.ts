// structuredClone, as the HTML Standard has it (section 2.7). The value is written down first as records, in which each object stands once, so
// that cycles end; then what is transferred is detached; then the copies are made and filled. Neither step recurses, however deep the value is.
//
// What the language does not show: a Proxy is cloned as the object that its handler shows (the standard refuses it), and a view that reaches to
// the end of a resizable buffer is taken to follow its length.

import { bytesOf, isBlob, isFile, lastModifiedOf, nameOf, newBlob, newFile, typeOf } from './blob.ts';
import { copyKey, isKey } from './crypto.ts';
import type { Host } from './host.ts';
import {
  append, bufferDetached, bufferLength, bufferResizable, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, getterOf, hasOwn, isArray,
  isArrayBuffer, isSharedArrayBuffer, isView, mapForEach, mapGet, mapSet, objectKeys, setAdd, setForEach, typedArrayName, uncurry,
  viewBuffer, viewLength, viewOffset,
} from './primordials.ts';
import {
  defineFunctions, defineValue, descriptor, dictionary, isObject, member, newDOMException, requireArguments, toDOMString, toSequence,
} from './webidl.ts';

const NativeMap = Map;
const NativeSet = Set;
const NativeDate = Date;
const NativeRegExp = RegExp;
const NativeObject = Object;
const NativeArray = Array;
const NativeArrayBuffer = ArrayBuffer;
const NativeUint8Array = Uint8Array;
const NativeDataView = DataView;
const { toStringTag } = Symbol;

const booleanValueOf = uncurry(Boolean.prototype.valueOf);
const numberValueOf = uncurry(Number.prototype.valueOf);
const bigintValueOf = uncurry(BigInt.prototype.valueOf);
const stringValueOf = uncurry(String.prototype.valueOf);
const symbolValueOf = uncurry(Symbol.prototype.valueOf);
const dateValueOf = uncurry(Date.prototype.getTime);
const mapSize = getterOf<number>(Map.prototype, 'size');
const setSize = getterOf<number>(Set.prototype, 'size');
const regexpSource = getterOf<string>(RegExp.prototype, 'source');
const regexpFlags = (['hasIndices', 'global', 'ignoreCase', 'multiline', 'dotAll', 'unicode', 'unicodeSets', 'sticky'] as const).map((name, i) => ({
  letter: 'dgimsuvy'[i] as string,
  isSet: getterOf<boolean>(RegExp.prototype, name),
}));
const RegExpPrototype = RegExp.prototype;
const dataViewLength = getterOf<number>(DataView.prototype, 'byteLength');
const typedArrayKeys = uncurry(Uint8Array.prototype.keys);
const bytesSet = uncurry(Uint8Array.prototype.set as (this: Uint8Array, source: ArrayLike<number>, offset?: number) => void);
const bufferMaximum = getterOf<number>(ArrayBuffer.prototype, 'maxByteLength');
const { transfer } = ArrayBuffer.prototype as unknown as { transfer: () => ArrayBuffer };
const bufferTransfer = uncurry(transfer) as (buffer: ArrayBuffer) => ArrayBuffer;
const isError = (Error as unknown as { isError: (value: unknown) => boolean }).isError;
const NativeDOMException = (globalThis as unknown as { DOMException: { prototype: object } }).DOMException;
const exceptionName = getterOf<string>(NativeDOMException.prototype, 'name');
const exceptionMessage = getterOf<string>(NativeDOMException.prototype, 'message');

const errors = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError } as unknown as Record<
  string,
  new (message?: string) => Error
>;

type Buffers = new (buffer: ArrayBuffer, offset: number, length?: number) => ArrayBufferView;
interface Element {
  make: Buffers;
  size: number;
}
const elements = { __proto__: null } as unknown as Record<string, Element>;
const Float16 = (globalThis as unknown as { Float16Array?: Buffers & { BYTES_PER_ELEMENT: number; name: string } }).Float16Array;
for (const type of [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array, Float32Array,
  Float64Array, ...(Float16 === undefined ? [] : [Float16]),
]) {
  elements[type.name] = { make: type as unknown as Buffers, size: type.BYTES_PER_ELEMENT };
}

/** An object written down: `make` gives the copy, still empty; then `fill` puts in what it contains. */
interface Written {
  make: () => object;
  copy: object | undefined;
  fill: ((copy: object) => void) | undefined;
}
type Slot = { value: unknown } | Written;

/** An object whose contents are being written down. */
interface Frame {
  /** Whose properties are read one after another; absent where the contents are in `values`. */
  source: object | undefined;
  keys: string[];
  values: unknown[];
  next: number;
  take: (key: string, slot: Slot) => void;
}

interface Writing {
  memory: Map<object, Written>;
  all: Written[];
  stack: Frame[];
}

/** Objects of the platform that can be transferred: whether this is one, whether it still can be, and what takes its place. */
export interface Transferable {
  is(object: object): boolean;
  isFree(object: object): boolean;
  move(object: object): object;
}

/** Who makes them adds them here, before any program runs. */
export const transferables: Transferable[] = [];

function transferableOf(object: object): Transferable | undefined {
  for (let i = 0; i < transferables.length; i++) if ((transferables[i] as Transferable).is(object)) return transferables[i];
  return undefined;
}

export interface Cloned {
  value: unknown;
  /** What took the place of what was transferred, in the same order. */
  transferred: object[];
}

/** A copy of the value, with those objects moved instead of copied that `transfer` lists. */
export function structuredCloneWith(value: unknown, transfer: readonly object[]): Cloned {
  const writing: Writing = { memory: new NativeMap(), all: [], stack: [] };
  const moved: { object: object; kind: Transferable | undefined; written: Written }[] = [];
  for (let i = 0; i < transfer.length; i++) {
    const object = transfer[i] as object;
    const kind = isArrayBuffer(object) ? undefined : transferableOf(object);
    if (kind === undefined && !isArrayBuffer(object)) throw newDOMException('An object that cannot be transferred was to be', 'DataCloneError');
    if (mapGet(writing.memory, object) !== undefined) throw newDOMException('An object was to be transferred twice', 'DataCloneError');
    const written: Written = { make: () => written.copy as object, copy: undefined, fill: undefined };
    mapSet(writing.memory, object as object, written);
    append(moved, { object, kind, written });
  }
  const slot = write(writing, value);
  finishWriting(writing);
  const transferred: object[] = [];
  for (let i = 0; i < moved.length; i++) {
    const { object, kind, written } = moved[i] as (typeof moved)[number];
    if (kind !== undefined) {
      if (!kind.isFree(object)) throw newDOMException('An object that is in use or was transferred before was to be transferred', 'DataCloneError');
      written.copy = kind.move(object);
      append(transferred, written.copy);
      continue;
    }
    const buffer = object as ArrayBuffer;
    if (bufferDetached(buffer)) throw newDOMException('An ArrayBuffer that is detached was to be transferred', 'DataCloneError');
    try {
      written.copy = bufferTransfer(buffer);
      append(transferred, written.copy);
    } catch {
      throw newDOMException('An ArrayBuffer that cannot be detached was to be transferred', 'DataCloneError');
    }
  }
  for (let i = 0; i < writing.all.length; i++) {
    const written = writing.all[i] as Written;
    written.copy = written.make();
  }
  for (let i = 0; i < writing.all.length; i++) {
    const written = writing.all[i] as Written;
    if (written.fill !== undefined) written.fill(written.copy as object);
  }
  return { value: read(slot), transferred };
}

function read(slot: Slot): unknown {
  return hasOwn(slot, 'value') ? (slot as { value: unknown }).value : (slot as Written).copy;
}

function finishWriting(writing: Writing): void {
  const stack = writing.stack;
  while (stack.length > 0) {
    const frame = stack[stack.length - 1] as Frame;
    if (frame.next >= (frame.source === undefined ? frame.values.length : frame.keys.length)) {
      stack.length--;
      continue;
    }
    const at = frame.next++;
    if (frame.source === undefined) {
      frame.take('', write(writing, frame.values[at]));
      continue;
    }
    const key = frame.keys[at] as string;
    if (hasOwn(frame.source, key)) frame.take(key, write(writing, (frame.source as Record<string, unknown>)[key]));
  }
}

function write(writing: Writing, value: unknown): Slot {
  if (!isObject(value)) {
    if (typeof value === 'symbol') throw refused('A symbol');
    return { value, __proto__: null } as Slot;
  }
  const known = mapGet(writing.memory, value);
  if (known !== undefined) return known;
  const written: Written = { make: noObject, copy: undefined, fill: undefined };
  mapSet(writing.memory, value, written);
  describe(writing, value, written);
  append(writing.all, written);
  return written;
}

function noObject(): object {
  return {};
}

function refused(what: string): Error {
  return newDOMException(`${what} could not be cloned`, 'DataCloneError');
}

/** Finds out what kind of object it is, by what only such an object can do. */
function describe(writing: Writing, value: object, written: Written): void {
  if (typeof value === 'function') throw refused('A function');
  if (isArray(value)) {
    const length = (value as unknown[]).length;
    written.make = () => new NativeArray(length);
    properties(writing, value, written);
    return;
  }
  if (describeWrapper(value, written) || describeBuffer(writing, value, written) || describeCollection(writing, value, written)) return;
  if (describeError(value, written) || describePlatform(value, written)) return;
  const prototype = getPrototypeOf(value);
  if (prototype === null ? isNamespace(value) : isPlatform(prototype)) throw refused('An object of the platform or the language');
  properties(writing, value, written);
}

function properties(writing: Writing, source: object, written: Written): void {
  const names: string[] = [];
  const slots: Slot[] = [];
  append(writing.stack, {
    source,
    keys: objectKeys(source),
    values: [],
    next: 0,
    take: (name, slot) => {
      append(names, name);
      append(slots, slot);
    },
  });
  written.fill = (copy) => {
    for (let i = 0; i < names.length; i++) defineProperty(copy, names[i] as string, plain(read(slots[i] as Slot)));
  };
}

function plain(value: unknown): PropertyDescriptor {
  return descriptor({ value, writable: true, enumerable: true, configurable: true });
}

function attempt<T>(of: (value: never) => T, value: unknown): { is: T } | undefined {
  try {
    return { is: of(value as never) };
  } catch {
    return undefined;
  }
}

function describeWrapper(value: object, written: Written): boolean {
  const primitive = attempt(booleanValueOf, value) ?? attempt(numberValueOf, value) ?? attempt(stringValueOf, value) ?? attempt(bigintValueOf, value);
  if (primitive !== undefined) {
    written.make = () => NativeObject(primitive.is) as object;
    return true;
  }
  if (attempt(symbolValueOf, value) !== undefined) throw refused('A symbol');
  const time = attempt(dateValueOf, value);
  if (time !== undefined) {
    written.make = () => new NativeDate(time.is);
    return true;
  }
  const source = value === RegExpPrototype ? undefined : attempt(regexpSource, value);
  if (source === undefined) return false;
  let flags = '';
  for (let i = 0; i < regexpFlags.length; i++) {
    const flag = regexpFlags[i] as (typeof regexpFlags)[number];
    if (flag.isSet(value)) flags += flag.letter;
  }
  written.make = () => new NativeRegExp(source.is, flags);
  return true;
}

function describeBuffer(writing: Writing, value: object, written: Written): boolean {
  if (isView(value)) {
    describeView(writing, value, written);
    return true;
  }
  if (isSharedArrayBuffer(value)) throw refused('A SharedArrayBuffer');
  if (!isArrayBuffer(value)) return false;
  if (bufferDetached(value)) throw refused('A detached ArrayBuffer');
  const options = bufferResizable(value) ? { maxByteLength: bufferMaximum(value), __proto__: null } : undefined;
  const copy = new (NativeArrayBuffer as unknown as new (length: number, options?: object) => ArrayBuffer)(bufferLength(value), options);
  bytesSet(new NativeUint8Array(copy), new NativeUint8Array(value));
  written.make = () => copy;
  return true;
}

function describeView(writing: Writing, view: ArrayBufferView, written: Written): void {
  const name = typedArrayName(view);
  const buffer = viewBuffer(view);
  const within = name === undefined ? attempt(dataViewLength, view) : attempt(typedArrayKeys, view);
  if (isArrayBuffer(buffer) && !bufferDetached(buffer) && within === undefined) throw refused('A view outside of its buffer');
  const slot = write(writing, buffer) as Written;
  // A view of a detached buffer that is to be transferred comes to nothing later, as the standard wants it.
  const offset = within === undefined ? 0 : viewOffset(view);
  const length = within === undefined ? 0 : viewLength(view);
  const element: Element = name === undefined ? { make: NativeDataView as unknown as Buffers, size: 1 } : (elements[name] as Element);
  const follows = isArrayBuffer(buffer) && bufferResizable(buffer) && bufferLength(buffer) - offset - length < element.size;
  written.make = () => new element.make(slot.copy as ArrayBuffer, offset, follows ? undefined : length / element.size);
}

function describeCollection(writing: Writing, value: object, written: Written): boolean {
  const values: unknown[] = [];
  const slots: Slot[] = [];
  if (attempt(mapSize, value) !== undefined) {
    mapForEach(value as Map<unknown, unknown>, (item, key) => {
      append(values, key);
      append(values, item);
    });
    written.make = () => new NativeMap();
    written.fill = (copy) => {
      for (let i = 0; i < slots.length; i += 2) mapSet(copy as Map<unknown, unknown>, read(slots[i] as Slot), read(slots[i + 1] as Slot));
    };
  } else if (attempt(setSize, value) !== undefined) {
    setForEach(value as Set<unknown>, (item) => append(values, item));
    written.make = () => new NativeSet();
    written.fill = (copy) => {
      for (let i = 0; i < slots.length; i++) setAdd(copy as Set<unknown>, read(slots[i] as Slot));
    };
  } else return false;
  append(writing.stack, { source: undefined, keys: [], values, next: 0, take: (_key, slot) => append(slots, slot) });
  return true;
}

function describeError(value: object, written: Written): boolean {
  const exception = attempt(exceptionName, value);
  if (exception !== undefined) {
    const message = exceptionMessage(value);
    const stack = stackOf(value);
    written.make = () => withStack(newDOMException(message, exception.is), stack);
    return true;
  }
  if (!isError(value)) return false;
  const name = (value as { name: unknown }).name;
  const kind = errors[name === undefined ? 'Error' : toDOMString(name)] ?? (errors.Error as new (message?: string) => Error);
  const property = getOwnPropertyDescriptor(value, 'message');
  const message = property !== undefined && hasOwn(property, 'value') ? toDOMString(property.value) : undefined;
  const stack = stackOf(value);
  written.make = () => {
    const copy = new kind();
    if (message !== undefined) defineValue(copy, 'message', message, false);
    return withStack(copy, stack);
  };
  return true;
}

const stackGetter = getOwnPropertyDescriptor(Error.prototype, 'stack')?.get;
const stackOfError = stackGetter === undefined ? undefined : (uncurry(stackGetter) as (error: object) => unknown);

function stackOf(error: object): string | undefined {
  const own = getOwnPropertyDescriptor(error, 'stack');
  const stack = own === undefined ? stackOfError?.(error) : own.value;
  return typeof stack === 'string' ? stack : undefined;
}

function withStack(error: Error, stack: string | undefined): Error {
  if (stack !== undefined) defineValue(error, 'stack', stack, false);
  return error;
}

function describePlatform(value: object, written: Written): boolean {
  if (isFile(value)) {
    written.make = () => newFile(bytesOf(value), typeOf(value), nameOf(value), lastModifiedOf(value));
  } else if (isBlob(value)) {
    written.make = () => newBlob(bytesOf(value), typeOf(value));
  } else if (isKey(value)) {
    written.make = () => copyKey(value);
  } else return false;
  return true;
}

/**
 * Whether a prototype belongs to an interface of the platform or a class of the language whose objects are more than their properties: it, or
 * one above it, has a tag that cannot be written, which those of programs hardly have.
 */
function isPlatform(prototype: object): boolean {
  for (let at: object | null = prototype; at !== null; at = getPrototypeOf(at)) {
    const tag = getOwnPropertyDescriptor(at, toStringTag);
    if (tag !== undefined && typeof tag.value === 'string' && tag.writable === false) return true;
  }
  return false;
}

function isNamespace(object: object): boolean {
  const tag = getOwnPropertyDescriptor(object, toStringTag);
  return tag !== undefined && tag.value === 'Module' && tag.writable === false;
}

function toObject(value: unknown): object {
  if (!isObject(value)) throw new TypeError('structuredClone: what is to be transferred is not an object');
  return value;
}

export function install(global: object, _host: Host): void {
  defineFunctions(global, {
    structuredClone(value: unknown, options: unknown = undefined): unknown {
      requireArguments(arguments.length, 1, 'structuredClone');
      const dict = dictionary(options, 'structuredClone: options');
      const transfer = member(dict, 'transfer', (list) => toSequence(list, toObject, 'structuredClone: transfer'));
      return structuredCloneWith(value, transfer ?? []).value;
    },
  });
}

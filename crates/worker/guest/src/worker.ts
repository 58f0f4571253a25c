// The way down to the worker, and the calls that are under way.
//
// `host` is taken from the global object and deleted there before anything else is evaluated; it stays in this module's scope, where no
// program can name it. What takes time is begun with `begin` and ends, once, with `settle`, unless it was cancelled.

import type { Host, Operations } from './host.ts';
import { jsonStringify, mapDelete, mapGet, mapSet, reflectApply } from './primordials.ts';
import { newDOMException } from './webidl.ts';

const globals = globalThis as { __host?: Host };
const below = globals.__host as Host;
delete globals.__host;

/** The worker's functions. What they throw is made an exception of the class that its name says. */
export const host: Host = {
  ...below,
  random: (length) => checked(() => below.random(length)),
  decode: (encoding, bytes, fatal, keepMark) => checked(() => below.decode(encoding, bytes, fatal, keepMark)),
  crypto: (...args) => checked(() => reflectApply(below.crypto, undefined, args) as ArrayBuffer | string),
  start: (id, operation, params, bytes) => checked(() => below.start(id, operation, params, bytes)),
};

function checked<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    const { name, message } = thrown as { name: unknown; message: unknown };
    throw typeof name === 'string' && typeof message === 'string' ? errorNamed(name, message) : thrown;
  }
}

/** What is done when a call ended: with its JSON text or bytes, or with the error that it failed with. */
export type Ended = (error: Error | undefined, json: string | undefined, bytes: ArrayBuffer | undefined) => void;

const under = new Map<number, Ended>();
// 0 is the request's and the answer's own body.
let lastId = 0;

export const phase: {
  /** Whether a run has begun: while a program is evaluated it can begin nothing, because its image would wait for it for ever. */
  running: boolean;
  /** When the run began, once somebody has asked. */
  timeOrigin: number | undefined;
} = { running: false, timeOrigin: undefined };

/** Begins an operation; its id is also the number of the body that it may bring. */
export function begin<Name extends keyof Operations>(name: Name, params: Operations[Name], bytes: ArrayBuffer | undefined, ended: Ended): number {
  if (!phase.running) throw new NativeTypeError('A program can neither fetch nor set timers while it is evaluated, only in a handler');
  const id = ++lastId;
  mapSet(under, id, ended);
  try {
    host.start(id, name, jsonStringify(params) as string, bytes);
  } catch (error) {
    mapDelete(under, id);
    throw error;
  }
  return id;
}

/** Nobody waits for it any longer. */
export function cancel(id: number): void {
  if (mapDelete(under, id)) host.cancel(id);
}

export function settle(id: number, ok: boolean, json: string | undefined, bytes: ArrayBuffer | undefined): void {
  const ended = mapGet(under, id);
  if (ended === undefined) return;
  mapDelete(under, id);
  if (ok) ended(undefined, json, bytes);
  else ended(errorFrom(json), undefined, undefined);
}

const NativeTypeError = TypeError;
const NativeRangeError = RangeError;
const NativeError = Error;
const parse = JSON.parse;

function errorFrom(json: string | undefined): Error {
  const { name, message } = (json === undefined ? { name: 'Error', message: '' } : parse(json)) as { name: string; message: string };
  return errorNamed(name, message);
}

function errorNamed(name: string, message: string): Error {
  switch (name) {
    case 'TypeError':
      return new NativeTypeError(message);
    case 'RangeError':
      return new NativeRangeError(message);
    case 'Error':
    case 'InternalError':
      return new NativeError(message);
    default:
      return newDOMException(message, name);
  }
}

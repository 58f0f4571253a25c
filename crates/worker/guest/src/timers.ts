// setTimeout and setInterval: HTML Standard, section 8.7.

import { uncaught } from './event.ts';
import { mapDelete, mapGet, mapSet, reflectApply } from './primordials.ts';
import { defineFunctions, requireArguments, toDOMString, toLong } from './webidl.ts';
import { begin, cancel } from './worker.ts';

interface Timer {
  /** The call to the worker that it waits for. */
  call: number;
  handler: unknown;
  args: unknown[];
  ms: number;
  repeat: boolean;
  nesting: number;
}

const timers = new Map<number, Timer>();
let lastId = 0;
// How deep in timers that timers set the code that runs now is: from the fifth on they take at least 4 ms.
let nesting = 0;
const evaluate = globalThis.eval;

function set(handler: unknown, timeout: unknown, args: unknown[], repeat: boolean): number {
  const call = typeof handler === 'function' ? handler : toDOMString(handler);
  let ms = toLong(timeout);
  if (ms < 0) ms = 0;
  const id = ++lastId;
  const timer: Timer = { call: 0, handler: call, args, ms, repeat, nesting };
  mapSet(timers, id, timer);
  arm(id, timer);
  return id;
}

function arm(id: number, timer: Timer): void {
  let ms = timer.ms;
  if (timer.nesting > 5 && ms < 4) ms = 4;
  timer.nesting++;
  timer.call = begin('timer', { ms }, undefined, () => expire(id, timer));
}

function expire(id: number, timer: Timer): void {
  if (!timer.repeat) mapDelete(timers, id);
  nesting = timer.nesting;
  try {
    if (typeof timer.handler === 'function') reflectApply(timer.handler, globalThis, timer.args);
    else evaluate(timer.handler as string);
  } catch (error) {
    uncaught.report(error);
  }
  nesting = 0;
  if (timer.repeat && mapGet(timers, id) === timer) arm(id, timer);
}

function clear(id: unknown): void {
  const key = toLong(id);
  const timer = mapGet(timers, key);
  if (timer === undefined) return;
  mapDelete(timers, key);
  cancel(timer.call);
}

export function install(global: object): void {
  defineFunctions(global, {
    setTimeout(handler: unknown, timeout: unknown = 0, ...args: unknown[]): number {
      requireArguments(arguments.length, 1, 'setTimeout');
      return set(handler, timeout, args, false);
    },
    clearTimeout(id: unknown = 0): void {
      clear(id);
    },
    setInterval(handler: unknown, timeout: unknown = 0, ...args: unknown[]): number {
      requireArguments(arguments.length, 1, 'setInterval');
      return set(handler, timeout, args, true);
    },
    clearInterval(id: unknown = 0): void {
      clear(id);
    },
  });
}

// Exceptions and rejections that nobody catches: HTML Standard, sections 8.1.4.5 to 8.1.4.7.
//
// They become an `error` or `unhandledrejection` event at the global object; what no listener cancels goes to the program's log. They do not
// end the run.

import { ErrorEvent, fire, globalTarget, hasListeners, PromiseRejectionEvent, uncaught } from './event.ts';
import { inspect } from './inspect.ts';
import { defineValue, isObject, requireArguments, toDOMString } from './webidl.ts';
import { append, arraySplice, regexpExec, stringSplit } from './primordials.ts';
import { host } from './worker.ts';

let reporting = false;

/** "Report an exception". */
export function report(error: unknown): void {
  // An exception out of a listener to `error` is logged, not dispatched again.
  if (!reporting && hasListeners(globalTarget, 'error')) {
    reporting = true;
    try {
      const { filename, lineno, colno } = position(error);
      const event = new ErrorEvent('error', { message: describe(error), filename, lineno, colno, error, cancelable: true });
      if (!fire(globalTarget, event)) return;
    } finally {
      reporting = false;
    }
  }
  host.log('error', `Uncaught ${inspect(error)}`);
}

function describe(error: unknown): string {
  try {
    return `Uncaught ${toDOMString(error)}`;
  } catch {
    return 'Uncaught exception';
  }
}

const framePlace = /\((.*):(\d+):(\d+)\)/;
const NativeNumber = Number;
const NativeError = Error;

/** Where the error was made, or else where we are: the first frame of the stack that is the program's. */
function position(error: unknown): { filename: string; lineno: number; colno: number } {
  const own: unknown = isObject(error) && isError(error) ? (error as { stack?: unknown }).stack : undefined;
  return (typeof own === 'string' ? placeIn(own) : undefined) ?? placeIn(new NativeError().stack ?? '') ?? { filename: '', lineno: 0, colno: 0 };
}
const isError = (Error as unknown as { isError: (value: unknown) => boolean }).isError;

function placeIn(stack: string): { filename: string; lineno: number; colno: number } | undefined {
  const lines = stringSplit(stack, '\n');
  for (let i = 0; i < lines.length; i++) {
    const match = regexpExec(framePlace, lines[i] as string);
    if (match !== null && match[1] !== 'prelude.js') return { filename: match[1] as string, lineno: NativeNumber(match[2]), colno: NativeNumber(match[3]) };
  }
  return undefined;
}

// Rejections of which a listener was told or the log tells, so that a handler that comes too late can be told of too.
let told: object[] = [];
let waiting: { promise: object; reason: unknown }[] = [];

/** The engine's hook: a promise was rejected without a handler, or such a one was handled after all. */
export function rejection(promise: object, reason: unknown, handled: boolean): void {
  if (!handled) {
    append(waiting, { promise, reason });
    return;
  }
  for (let i = 0; i < waiting.length; i++) {
    if (waiting[i]?.promise === promise) {
      arraySplice(waiting, i, 1);
      return;
    }
  }
  for (let i = 0; i < told.length; i++) {
    if (told[i] === promise) {
      arraySplice(told, i, 1);
      fire(globalTarget, new PromiseRejectionEvent('rejectionhandled', { promise, reason }));
      return;
    }
  }
}

/** "Notify about rejected promises": after the engine's jobs were run. Answers whether there were any. */
export function rejections(): boolean {
  if (waiting.length === 0) return false;
  const now = waiting;
  waiting = [];
  for (let i = 0; i < now.length; i++) {
    const { promise, reason } = now[i] as { promise: object; reason: unknown };
    const goOn = fire(globalTarget, new PromiseRejectionEvent('unhandledrejection', { promise, reason, cancelable: true }));
    if (goOn) host.log('error', `Uncaught (in promise) ${inspect(reason)}`);
    append(told, promise);
    if (told.length > 100) arraySplice(told, 0, 1);
  }
  return true;
}

uncaught.report = report;

export function install(global: object): void {
  const functions = {
    reportError(e: unknown): void {
      requireArguments(arguments.length, 1, 'reportError');
      report(e);
    },
  };
  defineValue(global, 'reportError', functions.reportError, true);
}

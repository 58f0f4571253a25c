// What the global object itself offers: self, navigator, performance.

import { defineHandler, EventTarget, globalTarget, uncaught } from './event.ts';
import { defineProperty, getOwnPropertyDescriptor, getterOf, reflectApply, setPrototypeOf } from './primordials.ts';
import {
  defineFunctions, defineInterface, defineValue, descriptor, illegalInvocation, internal, requireArguments, requireInternal, toDOMString,
  toFunction,
} from './webidl.ts';
import { host, phase } from './worker.ts';

class Navigator {
  #userAgent = 'JSFS';
  constructor(token: unknown = undefined) {
    requireInternal(token);
  }
  get userAgent(): string {
    return this.#userAgent;
  }
}

class Performance extends EventTarget {
  #made = true;
  constructor(token: unknown = undefined) {
    requireInternal(token);
    super();
  }
  now(): number {
    void this.#made;
    return host.elapsed();
  }
  get timeOrigin(): number {
    void this.#made;
    return (phase.timeOrigin ??= host.now() - host.elapsed());
  }
  toJSON(): object {
    void this.#made;
    return { timeOrigin: this.timeOrigin };
  }
}

/** An attribute that a program may replace by assigning to it ([Replaceable]), or must not. */
function attribute(global: object, name: string, value: unknown, replaceable: boolean): void {
  const accessor = {
    get [name](): unknown {
      checkGlobal(this);
      return value;
    },
    set [name](replacement: unknown) {
      checkGlobal(this);
      defineValue(global, name, replacement, true);
    },
  };
  const property = getOwnPropertyDescriptor(accessor, name) as PropertyDescriptor;
  if (!replaceable) property.set = undefined;
  property.enumerable = true;
  defineProperty(global, name, descriptor(property));
}

/** Without an object, an attribute of the global is meant. */
function checkGlobal(self: unknown): void {
  if (self !== undefined && self !== null && self !== globalThis) throw illegalInvocation();
}

const nativeIsError = (Error as unknown as { isError: (value: unknown) => boolean }).isError;
const exceptionName = getterOf<string>((globalThis as unknown as { DOMException: { prototype: object } }).DOMException.prototype, 'name');

function isException(value: unknown): boolean {
  try {
    exceptionName(value as object);
    return true;
  } catch {
    return false;
  }
}

export function install(global: object): void {
  // An exception of the platform is an error to the language too: Web IDL, section 3.14.
  const amended = { isError: (value: unknown): boolean => nativeIsError(value) || isException(value) };
  defineValue(Error, 'isError', amended.isError, false);
  setPrototypeOf(global, EventTarget.prototype);
  defineHandler(globalTarget, 'error', true);
  defineHandler(globalTarget, 'unhandledrejection');
  defineHandler(globalTarget, 'rejectionhandled');
  attribute(global, 'self', global, true);
  defineInterface(global, 'Navigator', Navigator, { length: 0 });
  attribute(global, 'navigator', new Navigator(internal), false);
  defineInterface(global, 'Performance', Performance, { length: 0 });
  attribute(global, 'performance', new Performance(internal), true);
  // The engine's own, with the checks and the shape of operations of the global.
  const own = global as Record<string, (value: unknown) => unknown>;
  const { queueMicrotask: nativeQueueMicrotask, atob: nativeAtob, btoa: nativeBtoa } = own;
  defineFunctions(global, {
    queueMicrotask(callback: unknown): void {
      requireArguments(arguments.length, 1, 'queueMicrotask');
      const call = toFunction(callback, 'callback');
      nativeQueueMicrotask?.(() => {
        try {
          reflectApply(call, undefined, []);
        } catch (error) {
          uncaught.report(error);
        }
      });
    },
    atob(data: unknown): unknown {
      requireArguments(arguments.length, 1, 'atob');
      return nativeAtob?.(toDOMString(data));
    },
    btoa(data: unknown): unknown {
      requireArguments(arguments.length, 1, 'btoa');
      return nativeBtoa?.(toDOMString(data));
    },
  });
}

// AbortController and AbortSignal: DOM Standard, section 3.

import { defineHandler, Event, EventTarget, fire, hasListeners, signals } from './event.ts';
import { append, getterOf, promiseThen, setAdd, setDelete, setForEach, uncurry } from './primordials.ts';
import {
  defineInterface, internal, isObject, newDOMException, requireArguments, requireInternal, toSequence, toUnsignedLongLong,
} from './webidl.ts';
import { begin } from './worker.ts';

const setSize = getterOf<number>(Set.prototype, 'size');
const deref = uncurry(WeakRef.prototype.deref) as (reference: WeakRef<AbortSignal>) => AbortSignal | undefined;

let newSignal: () => AbortSignal;
let abortSignal: (signal: AbortSignal, reason: unknown) => void;
let addAlgorithm: (signal: AbortSignal, algorithm: () => void) => void;
let removeAlgorithm: (signal: AbortSignal, algorithm: () => void) => void;
let dependOn: (signal: AbortSignal, sources: readonly AbortSignal[]) => void;
let keep: (signal: AbortSignal) => void;
let isSignal: (value: unknown) => value is AbortSignal;

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason: unknown = undefined;
  #algorithms: Set<() => void> | undefined;
  #dependent = false;
  /** The signals that this one follows, none of which is itself dependent. */
  #sources: AbortSignal[] | undefined;
  // Signals that nobody but their sources knows may go; those that somebody waits for are kept.
  #dependents: WeakRef<AbortSignal>[] | undefined;
  #kept: Set<AbortSignal> | undefined;

  constructor(token: unknown = undefined) {
    requireInternal(token);
    super();
  }

  static abort(reason: unknown = undefined): AbortSignal {
    const signal = newSignal();
    signal.#aborted = true;
    signal.#reason = reason === undefined ? abortError() : reason;
    return signal;
  }

  static timeout(milliseconds: number): AbortSignal {
    requireArguments(arguments.length, 1, 'AbortSignal.timeout');
    const ms = toUnsignedLongLong(milliseconds, 'enforce');
    const signal = newSignal();
    begin('timer', { ms }, undefined, () => abortSignal(signal, newDOMException('The operation timed out.', 'TimeoutError')));
    return signal;
  }

  static any(list: Iterable<AbortSignal>): AbortSignal {
    requireArguments(arguments.length, 1, 'AbortSignal.any');
    const sources = toSequence(list, toAbortSignal, 'AbortSignal.any: the argument');
    const signal = newSignal();
    dependOn(signal, sources);
    return signal;
  }

  get aborted(): boolean {
    return this.#aborted;
  }
  get reason(): unknown {
    return this.#reason;
  }
  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  static {
    newSignal = () => new AbortSignal(internal);
    isSignal = (value): value is AbortSignal => isObject(value) && #aborted in value;
    addAlgorithm = (signal, algorithm) => {
      if (signal.#aborted) return;
      signal.#algorithms ??= new Set();
      setAdd(signal.#algorithms, algorithm);
      keep(signal);
    };
    removeAlgorithm = (signal, algorithm) => {
      if (signal.#algorithms === undefined || !setDelete(signal.#algorithms, algorithm)) return;
      if (signal.#sources === undefined || setSize(signal.#algorithms) > 0 || hasListeners(signal, 'abort')) return;
      for (let i = 0; i < signal.#sources.length; i++) {
        const kept = (signal.#sources[i] as AbortSignal).#kept;
        if (kept !== undefined) setDelete(kept, signal);
      }
    };
    keep = (signal) => {
      const sources = signal.#sources;
      if (sources === undefined) return;
      for (let i = 0; i < sources.length; i++) {
        const source = sources[i] as AbortSignal;
        source.#kept ??= new Set();
        setAdd(source.#kept, signal);
      }
    };
    dependOn = (signal, sources) => {
      for (let i = 0; i < sources.length; i++) {
        const source = sources[i] as AbortSignal;
        if (source.#aborted) {
          signal.#aborted = true;
          signal.#reason = source.#reason;
          return;
        }
      }
      signal.#dependent = true;
      signal.#sources = [];
      for (let i = 0; i < sources.length; i++) {
        const source = sources[i] as AbortSignal;
        if (!source.#dependent) link(signal, source);
        else {
          const further = source.#sources ?? [];
          for (let k = 0; k < further.length; k++) link(signal, further[k] as AbortSignal);
        }
      }
    };
    const link = (signal: AbortSignal, source: AbortSignal): void => {
      const already = signal.#sources as AbortSignal[];
      for (let i = 0; i < already.length; i++) if (already[i] === source) return;
      append(already, source);
      const dependents = source.#dependents ?? [];
      source.#dependents = dependents.length >= 8 && (dependents.length & (dependents.length - 1)) === 0 ? living(dependents) : dependents;
      append(source.#dependents, new WeakRef(signal));
    };
    // Whenever their number has doubled, the dead are cleared away.
    const living = (references: readonly WeakRef<AbortSignal>[]): WeakRef<AbortSignal>[] => {
      const left: WeakRef<AbortSignal>[] = [];
      for (let i = 0; i < references.length; i++) {
        const reference = references[i] as WeakRef<AbortSignal>;
        if (deref(reference) !== undefined) append(left, reference);
      }
      return left;
    };
    abortSignal = (signal, reason) => {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason === undefined ? abortError() : reason;
      const toAbort: AbortSignal[] = [];
      const dependents = signal.#dependents ?? [];
      for (let i = 0; i < dependents.length; i++) {
        const dependent = deref(dependents[i] as WeakRef<AbortSignal>);
        if (dependent === undefined || dependent.#aborted) continue;
        dependent.#aborted = true;
        dependent.#reason = signal.#reason;
        append(toAbort, dependent);
      }
      signal.#dependents = undefined;
      signal.#kept = undefined;
      runSteps(signal);
      for (let i = 0; i < toAbort.length; i++) runSteps(toAbort[i] as AbortSignal);
    };
    const runSteps = (signal: AbortSignal): void => {
      const algorithms = signal.#algorithms;
      signal.#algorithms = undefined;
      if (algorithms !== undefined) setForEach(algorithms, (algorithm) => algorithm());
      fire(signal, new Event('abort'));
    };
  }
}

function abortError(): unknown {
  return newDOMException('This operation was aborted', 'AbortError');
}

export function toAbortSignal(value: unknown): AbortSignal {
  if (!isSignal(value)) throw new TypeError('signal is not an AbortSignal');
  return value;
}

export class AbortController {
  #signal: AbortSignal = newSignal();
  get signal(): AbortSignal {
    return this.#signal;
  }
  abort(reason: unknown = undefined): void {
    abortSignal(this.#signal, reason);
  }
}

signals.is = isSignal;
signals.listened = (target) => {
  if (isSignal(target)) keep(target);
};
signals.onAbort = (signal, algorithm) => addAlgorithm(signal as AbortSignal, algorithm);

/** Calls the function when the signal aborts, unless the promise settled before. */
export function whileUnsettled(signal: AbortSignal, algorithm: () => void, promise: Promise<unknown>): void {
  addAlgorithm(signal, algorithm);
  const forget = () => removeAlgorithm(signal, algorithm);
  promiseThen(promise, forget, forget);
}

export { abortSignal, addAlgorithm, dependOn, isSignal, newSignal, removeAlgorithm };

export function install(global: object): void {
  defineInterface(global, 'AbortSignal', AbortSignal, { length: 0 });
  defineHandler(AbortSignal.prototype, 'abort');
  defineInterface(global, 'AbortController', AbortController);
}

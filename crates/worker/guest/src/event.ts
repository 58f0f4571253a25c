// Events and their targets: DOM Standard, sections 2.2 to 2.9, without a tree of nodes.

import {
  append, arraySlice, defineProperty, getOwnPropertyDescriptor, mapDelete, mapGet, mapSet, reflectApply, weakMapGet, weakMapSet,
} from './primordials.ts';
import { host } from './worker.ts';
import {
  defineInterface, descriptor, dictionary, isObject, member, newDOMException, requireArguments, toDOMString, toDouble, toFunction,
  toUnsignedLong, toUnsignedShort, toUSVString,
} from './webidl.ts';

const NativeBoolean = Boolean;

// Friends of Event, for those who dispatch.
let begin: (event: Event, target: EventTarget) => void;
let finish: (event: Event) => boolean;
let isDispatching: (event: Event) => boolean;
let setCurrent: (event: Event, target: EventTarget | null) => void;
let setPassive: (event: Event, passive: boolean) => void;
let stoppedAtOnce: (event: Event) => boolean;
let isStopped: (event: Event) => boolean;
let setTrusted: (event: Event, trusted: boolean) => void;
let isEvent: (value: unknown) => value is Event;

export interface EventInit {
  bubbles?: boolean;
  cancelable?: boolean;
  composed?: boolean;
}

export class Event {
  #type: string;
  #bubbles = false;
  #cancelable = false;
  #composed = false;
  #target: EventTarget | null = null;
  #currentTarget: EventTarget | null = null;
  #dispatching = false;
  #stopped = false;
  #stoppedAtOnce = false;
  #canceled = false;
  #passive = false;
  #initialized = true;
  #trusted = false;
  #timeStamp = host.elapsed();

  constructor(type: string, eventInitDict: EventInit = {}) {
    requireArguments(arguments.length, 1, 'Event constructor');
    this.#type = toDOMString(type);
    const init = dictionary(eventInitDict, 'eventInitDict');
    this.#bubbles = member(init, 'bubbles', NativeBoolean) ?? false;
    this.#cancelable = member(init, 'cancelable', NativeBoolean) ?? false;
    this.#composed = member(init, 'composed', NativeBoolean) ?? false;
    // The one member that each event has itself, because pages must not be able to forge it ([LegacyUnforgeable]).
    defineProperty(this, 'isTrusted', isTrusted);
  }

  get type(): string {
    return this.#type;
  }
  get target(): EventTarget | null {
    return this.#target;
  }
  get srcElement(): EventTarget | null {
    return this.#target;
  }
  get currentTarget(): EventTarget | null {
    return this.#currentTarget;
  }
  composedPath(): EventTarget[] {
    const current = this.#currentTarget;
    return current === null ? [] : [current];
  }
  get eventPhase(): number {
    return this.#dispatching && this.#currentTarget !== null ? 2 : 0;
  }
  stopPropagation(): void {
    this.#stopped = true;
  }
  get cancelBubble(): boolean {
    return this.#stopped;
  }
  set cancelBubble(value: boolean) {
    if (value) this.#stopped = true;
    else void this.#stopped;
  }
  stopImmediatePropagation(): void {
    this.#stopped = true;
    this.#stoppedAtOnce = true;
  }
  get bubbles(): boolean {
    return this.#bubbles;
  }
  get cancelable(): boolean {
    return this.#cancelable;
  }
  get returnValue(): boolean {
    return !this.#canceled;
  }
  set returnValue(value: boolean) {
    const canceled = !value;
    if (canceled && this.#cancelable && !this.#passive) this.#canceled = true;
    else void this.#canceled;
  }
  preventDefault(): void {
    if (this.#cancelable && !this.#passive) this.#canceled = true;
  }
  get defaultPrevented(): boolean {
    return this.#canceled;
  }
  get composed(): boolean {
    return this.#composed;
  }
  get timeStamp(): number {
    return this.#timeStamp;
  }
  initEvent(type: string, bubbles: boolean = false, cancelable: boolean = false): void {
    void this.#type;
    requireArguments(arguments.length, 1, 'Event.initEvent');
    const text = toDOMString(type);
    if (this.#dispatching) return;
    this.#initialized = true;
    this.#stopped = false;
    this.#stoppedAtOnce = false;
    this.#canceled = false;
    this.#trusted = false;
    this.#target = null;
    this.#type = text;
    this.#bubbles = NativeBoolean(bubbles);
    this.#cancelable = NativeBoolean(cancelable);
  }

  // Read as a property of the class below, and moved to the instances.
  get isTrusted(): boolean {
    return this.#trusted;
  }

  static {
    begin = (event, target) => {
      event.#dispatching = true;
      event.#target = target;
    };
    finish = (event) => {
      event.#dispatching = false;
      event.#currentTarget = null;
      event.#stopped = false;
      event.#stoppedAtOnce = false;
      return !event.#canceled;
    };
    isDispatching = (event) => event.#dispatching || !event.#initialized;
    setCurrent = (event, target) => {
      event.#currentTarget = target;
    };
    setPassive = (event, passive) => {
      event.#passive = passive;
    };
    stoppedAtOnce = (event) => event.#stoppedAtOnce;
    isStopped = (event) => event.#stopped;
    setTrusted = (event, trusted) => {
      event.#trusted = trusted;
    };
    isEvent = (value): value is Event => isObject(value) && #type in value;
  }
}

const isTrustedGetter = getOwnPropertyDescriptor(Event.prototype, 'isTrusted') as PropertyDescriptor;
const isTrusted = descriptor({ get: isTrustedGetter.get as () => unknown, set: undefined, enumerable: true, configurable: false });
delete (Event.prototype as { isTrusted?: boolean }).isTrusted;

interface Listener {
  type: string;
  callback: object | null;
  capture: boolean;
  passive: boolean;
  once: boolean;
  signal: AbortSignalLike | undefined;
  removed: boolean;
  /** The listener belongs to an `on…` attribute. */
  attribute: boolean;
}

/** What EventTarget needs of an AbortSignal; abort.ts fills it in, because AbortSignal is itself an EventTarget. */
export interface AbortSignalLike {
  readonly aborted: boolean;
}
export const signals: {
  is: (value: unknown) => value is AbortSignalLike;
  onAbort: (signal: AbortSignalLike, algorithm: () => void) => void;
  /** Somebody listens to `abort` of it. */
  listened: (target: EventTarget) => void;
} = {
  is: (value): value is AbortSignalLike => false && value === undefined,
  onAbort: () => {},
  listened: () => {},
};

/** What is done with an exception that nobody catches; report.ts fills it in. */
export const uncaught: { report: (error: unknown) => void } = { report: () => {} };

let listenersOf: (target: EventTarget) => Listener[];
let setListeners: (target: EventTarget, listeners: Listener[]) => void;
let isTarget: (value: unknown) => value is EventTarget;

const noListeners: Listener[] = [];

// The global object is a target too, but was not made by our constructor: its listeners are here.
export const globalTarget = globalThis as unknown as EventTarget;
let globalListeners = noListeners;

export class EventTarget {
  // One list is shared by all targets that nobody listens to.
  #listeners: Listener[] = noListeners;
  addEventListener(type: string, callback: unknown, options: unknown = {}): void {
    const target = receiver(this);
    requireArguments(arguments.length, 2, 'EventTarget.addEventListener');
    const name = toDOMString(type);
    const handler = toListener(callback);
    let capture = false;
    let once = false;
    let passive = false;
    let signal: AbortSignalLike | undefined;
    if (isObject(options)) {
      const dict = options as Record<string, unknown>;
      capture = member(dict, 'capture', NativeBoolean) ?? false;
      once = member(dict, 'once', NativeBoolean) ?? false;
      passive = member(dict, 'passive', NativeBoolean) ?? false;
      signal = member(dict, 'signal', toSignal);
    } else {
      capture = NativeBoolean(options);
    }
    if (signal?.aborted || handler === null) return;
    const listeners = listenersOf(target);
    for (let i = 0; i < listeners.length; i++) {
      const other = listeners[i] as Listener;
      if (!other.attribute && other.type === name && other.callback === handler && other.capture === capture) return;
    }
    const listener: Listener = { type: name, callback: handler, capture, passive, once, signal, removed: false, attribute: false };
    add(target, listener);
    if (signal !== undefined) signals.onAbort(signal, () => remove(target, listener));
  }

  removeEventListener(type: string, callback: unknown, options: unknown = {}): void {
    const target = receiver(this);
    requireArguments(arguments.length, 2, 'EventTarget.removeEventListener');
    const name = toDOMString(type);
    const handler = toListener(callback);
    const capture = isObject(options) ? NativeBoolean((options as Record<string, unknown>)['capture']) : NativeBoolean(options);
    const listeners = listenersOf(target);
    for (let i = 0; i < listeners.length; i++) {
      const listener = listeners[i] as Listener;
      if (!listener.attribute && listener.type === name && listener.callback === handler && listener.capture === capture) {
        remove(target, listener);
        return;
      }
    }
  }

  dispatchEvent(event: Event): boolean {
    const target = receiver(this);
    requireArguments(arguments.length, 1, 'EventTarget.dispatchEvent');
    if (!isEvent(event)) throw new TypeError('EventTarget.dispatchEvent: the argument is not an Event');
    if (isDispatching(event)) throw newDOMException('The event is already being dispatched', 'InvalidStateError');
    setTrusted(event, false);
    return dispatch(target, event);
  }

  static {
    listenersOf = (target) => (target === globalTarget ? globalListeners : target.#listeners);
    setListeners = (target, listeners) => {
      if (target === globalTarget) globalListeners = listeners;
      else target.#listeners = listeners;
    };
    isTarget = (value): value is EventTarget => isObject(value) && (value === globalTarget || #listeners in value);
  }
}

/** `addEventListener(…)` without an object is the global's. */
function receiver(self: unknown): EventTarget {
  const target = self === undefined || self === null ? globalTarget : self;
  if (!isTarget(target)) throw new TypeError('Illegal invocation');
  return target;
}

function toListener(callback: unknown): object | null {
  if (callback === null || callback === undefined) return null;
  if (!isObject(callback)) throw new TypeError('The listener is not an object');
  return callback;
}

function toSignal(value: unknown): AbortSignalLike {
  if (!signals.is(value)) throw new TypeError('signal is not an AbortSignal');
  return value;
}

// Lists are replaced, never changed, so that a dispatch under way goes on with the one that it began with.
function add(target: EventTarget, listener: Listener): void {
  const listeners = arraySlice(listenersOf(target));
  append(listeners, listener);
  setListeners(target, listeners);
  if (listener.type === 'abort') signals.listened(target);
}

function remove(target: EventTarget, listener: Listener): void {
  listener.removed = true;
  const listeners = listenersOf(target);
  const left: Listener[] = [];
  for (let i = 0; i < listeners.length; i++) if (listeners[i] !== listener) append(left, listeners[i] as Listener);
  setListeners(target, left);
}

/** Dispatches an event that the platform made or that `dispatchEvent` checked. False if it was cancelled. */
function dispatch(target: EventTarget, event: Event): boolean {
  begin(event, target);
  setCurrent(event, target);
  // With a single target both phases are at it: listeners that capture come first.
  if (listenersOf(target).length !== 0) {
    invoke(target, event, true);
    invoke(target, event, false);
  }
  return finish(event);
}

function invoke(target: EventTarget, event: Event, capturing: boolean): void {
  if (isStopped(event)) return;
  const listeners = listenersOf(target);
  for (let i = 0; i < listeners.length; i++) {
    const listener = listeners[i] as Listener;
    if (listener.removed || listener.capture !== capturing || listener.type !== event.type) continue;
    if (listener.once) remove(target, listener);
    setPassive(event, listener.passive);
    try {
      call(target, listener.callback as object, event);
    } catch (error) {
      uncaught.report(error);
    }
    setPassive(event, false);
    if (stoppedAtOnce(event)) return;
  }
}

function call(target: EventTarget, callback: object, event: Event): void {
  if (typeof callback === 'function') {
    reflectApply(callback, target, [event]);
    return;
  }
  const handle = toFunction((callback as { handleEvent: unknown }).handleEvent, 'handleEvent');
  reflectApply(handle, callback, [event]);
}

/** Fires an event of the platform's own. False if it was cancelled. */
export function fire(target: EventTarget, event: Event): boolean {
  setTrusted(event, true);
  return dispatch(target, event);
}

export function hasListeners(target: EventTarget, type: string): boolean {
  const listeners = listenersOf(target);
  for (let i = 0; i < listeners.length; i++) if ((listeners[i] as Listener).type === type) return true;
  return false;
}

const handlers = new WeakMap<object, Map<string, { callback: object; listener: Listener }>>();

/**
 * Gives a class (or the global) an `on…` attribute: HTML Standard, section 8.1.8.1. `onerror` of the global is called with the parts of the
 * error, and cancels by answering true.
 */
export function defineHandler(on: object, type: string, isErrorHandler = false): void {
  const name = `on${type}`;
  const accessor = {
    get [name](): object | null {
      return handlerOf(receiver(this), type)?.callback ?? null;
    },
    set [name](value: unknown) {
      setHandler(receiver(this), type, value, isErrorHandler);
    },
  };
  const property = getOwnPropertyDescriptor(accessor, name) as PropertyDescriptor;
  property.enumerable = true;
  defineProperty(on, name, descriptor(property));
}

function handlerOf(target: EventTarget, type: string): { callback: object; listener: Listener } | undefined {
  const all = weakMapGet(handlers, target);
  return all === undefined ? undefined : mapGet(all, type);
}

function setHandler(target: EventTarget, type: string, value: unknown, isErrorHandler: boolean): void {
  let all = weakMapGet(handlers, target);
  const before = all === undefined ? undefined : mapGet(all, type);
  if (!isObject(value)) {
    if (before !== undefined) {
      remove(target, before.listener);
      if (all !== undefined) mapDelete(all, type);
    }
    return;
  }
  if (before !== undefined) {
    // The place among the listeners is that of the first handler.
    before.callback = value;
    return;
  }
  if (all === undefined) {
    all = new Map();
    weakMapSet(handlers, target, all);
  }
  const listener: Listener = { type, callback: null, capture: false, passive: false, once: false, signal: undefined, removed: false, attribute: true };
  const entry = { callback: value, listener };
  listener.callback = function (this: unknown, event: Event): void {
    if (typeof entry.callback !== 'function') return;
    const isError = isErrorHandler && event instanceof ErrorEvent;
    const answer: unknown = isError
      ? reflectApply(entry.callback, target, [event.message, event.filename, event.lineno, event.colno, event.error])
      : reflectApply(entry.callback, target, [event]);
    if (isError ? answer === true : answer === false) event.preventDefault();
  };
  mapSet(all, type, entry);
  add(target, listener);
}

export class CustomEvent extends Event {
  #detail: unknown;
  constructor(type: string, eventInitDict: EventInit & { detail?: unknown } = {}) {
    requireArguments(arguments.length, 1, 'CustomEvent constructor');
    super(type, eventInitDict);
    const detail = dictionary(eventInitDict, 'eventInitDict')['detail'];
    this.#detail = detail === undefined ? null : detail;
  }
  get detail(): unknown {
    return this.#detail;
  }
  initCustomEvent(type: string, bubbles: boolean = false, cancelable: boolean = false, detail: unknown = null): void {
    void this.#detail;
    requireArguments(arguments.length, 1, 'CustomEvent.initCustomEvent');
    if (isDispatching(this)) return;
    this.initEvent(type, bubbles, cancelable);
    this.#detail = detail;
  }
}

export interface ErrorEventInit extends EventInit {
  message?: string;
  filename?: string;
  lineno?: number;
  colno?: number;
  error?: unknown;
}

export class ErrorEvent extends Event {
  #message: string;
  #filename: string;
  #lineno: number;
  #colno: number;
  #error: unknown;
  constructor(type: string, eventInitDict: ErrorEventInit = {}) {
    requireArguments(arguments.length, 1, 'ErrorEvent constructor');
    super(type, eventInitDict);
    const init = dictionary(eventInitDict, 'eventInitDict');
    this.#colno = member(init, 'colno', toUnsignedLong) ?? 0;
    this.#error = init['error'];
    this.#filename = member(init, 'filename', toUSVString) ?? '';
    this.#lineno = member(init, 'lineno', toUnsignedLong) ?? 0;
    this.#message = member(init, 'message', toDOMString) ?? '';
  }
  get message(): string {
    return this.#message;
  }
  get filename(): string {
    return this.#filename;
  }
  get lineno(): number {
    return this.#lineno;
  }
  get colno(): number {
    return this.#colno;
  }
  get error(): unknown {
    return this.#error;
  }
}

export class PromiseRejectionEvent extends Event {
  #promise: object;
  #reason: unknown;
  constructor(type: string, eventInitDict: EventInit & { promise?: object; reason?: unknown }) {
    requireArguments(arguments.length, 2, 'PromiseRejectionEvent constructor');
    super(type, eventInitDict);
    const init = dictionary(eventInitDict, 'eventInitDict');
    const promise = init['promise'];
    if (!isObject(promise)) throw new TypeError('PromiseRejectionEvent constructor: promise is required');
    this.#promise = promise;
    this.#reason = init['reason'];
  }
  get promise(): object {
    return this.#promise;
  }
  get reason(): unknown {
    return this.#reason;
  }
}

export interface CloseEventInit extends EventInit {
  wasClean?: boolean;
  code?: number;
  reason?: string;
}

export class CloseEvent extends Event {
  #wasClean: boolean;
  #code: number;
  #reason: string;
  constructor(type: string, eventInitDict: CloseEventInit = {}) {
    requireArguments(arguments.length, 1, 'CloseEvent constructor');
    super(type, eventInitDict);
    const init = dictionary(eventInitDict, 'eventInitDict');
    this.#code = member(init, 'code', (value) => toUnsignedShort(value)) ?? 0;
    this.#reason = member(init, 'reason', toUSVString) ?? '';
    this.#wasClean = member(init, 'wasClean', NativeBoolean) ?? false;
  }
  get wasClean(): boolean {
    return this.#wasClean;
  }
  get code(): number {
    return this.#code;
  }
  get reason(): string {
    return this.#reason;
  }
}

export interface ProgressEventInit extends EventInit {
  lengthComputable?: boolean;
  loaded?: number;
  total?: number;
}

export class ProgressEvent extends Event {
  #lengthComputable: boolean;
  #loaded: number;
  #total: number;
  constructor(type: string, eventInitDict: ProgressEventInit = {}) {
    requireArguments(arguments.length, 1, 'ProgressEvent constructor');
    super(type, eventInitDict);
    const init = dictionary(eventInitDict, 'eventInitDict');
    this.#lengthComputable = member(init, 'lengthComputable', NativeBoolean) ?? false;
    this.#loaded = member(init, 'loaded', toDouble) ?? 0;
    this.#total = member(init, 'total', toDouble) ?? 0;
  }
  get lengthComputable(): boolean {
    return this.#lengthComputable;
  }
  get loaded(): number {
    return this.#loaded;
  }
  get total(): number {
    return this.#total;
  }
}

export function install(global: object): void {
  defineInterface(global, 'Event', Event, { constants: { NONE: 0, CAPTURING_PHASE: 1, AT_TARGET: 2, BUBBLING_PHASE: 3 } });
  defineInterface(global, 'EventTarget', EventTarget);
  defineInterface(global, 'CustomEvent', CustomEvent);
  defineInterface(global, 'ErrorEvent', ErrorEvent);
  defineInterface(global, 'PromiseRejectionEvent', PromiseRejectionEvent);
  defineInterface(global, 'CloseEvent', CloseEvent);
  defineInterface(global, 'ProgressEvent', ProgressEvent);
}

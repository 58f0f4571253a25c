// MessageChannel and MessagePort: HTML Standard, section 9.4; MessageEvent: section 9.1. Both ports are in this engine, so that transferring one
// gives another in its place.

import { type Cloned, structuredCloneWith, transferables } from './clone.ts';
import { defineHandler, Event, type EventInit, EventTarget, fire } from './event.ts';
import { append, arrayShift, arraySlice, defineProperty, freeze, getOwnPropertyDescriptor, isArray, reflectApply } from './primordials.ts';
import {
  defineInterface, descriptor, dictionary, internal, isObject, iteratorSymbol, member, requireArguments, requireInternal, toDOMString,
  newDOMException, toSequence, toUSVString,
} from './webidl.ts';
import { begin } from './worker.ts';

export interface MessageEventInit extends EventInit {
  data?: unknown;
  origin?: string;
  lastEventId?: string;
  source?: unknown;
  ports?: unknown;
}

export class MessageEvent extends Event {
  #data: unknown;
  #origin: string;
  #lastEventId: string;
  #source: unknown;
  #ports: readonly unknown[];

  constructor(type: string, eventInitDict: MessageEventInit = {}) {
    requireArguments(arguments.length, 1, 'MessageEvent constructor');
    super(type, eventInitDict);
    const init = dictionary(eventInitDict, 'eventInitDict');
    const data = init['data'];
    this.#data = data === undefined ? null : data;
    this.#lastEventId = member(init, 'lastEventId', toDOMString) ?? '';
    this.#origin = member(init, 'origin', toUSVString) ?? '';
    this.#ports = freeze(member(init, 'ports', toPorts) ?? []);
    this.#source = member(init, 'source', toSource) ?? null;
  }
  get data(): unknown {
    return this.#data;
  }
  get origin(): string {
    return this.#origin;
  }
  get lastEventId(): string {
    return this.#lastEventId;
  }
  get source(): unknown {
    return this.#source;
  }
  get ports(): readonly unknown[] {
    return this.#ports;
  }
  initMessageEvent(
    type: string, bubbles: boolean = false, cancelable: boolean = false, data: unknown = null, origin: string = '', lastEventId: string = '',
    source: unknown = null, ports: unknown = [],
  ): void {
    void this.#data;
    requireArguments(arguments.length, 1, 'MessageEvent.initMessageEvent');
    this.initEvent(type, bubbles, cancelable);
    this.#data = data;
    this.#origin = toUSVString(origin);
    this.#lastEventId = toDOMString(lastEventId);
    this.#source = source === null ? null : toSource(source);
    this.#ports = freeze(toPorts(ports));
  }
}

function toPorts(value: unknown): MessagePort[] {
  return toSequence(
    value,
    (port) => {
      if (!isPort(port)) throw new TypeError('ports has something that is no MessagePort');
      return port;
    },
    'ports',
  );
}

function toSource(value: unknown): unknown {
  if (value !== null && !isPort(value)) throw new TypeError('source is no MessagePort');
  return value;
}

let isPort: (value: unknown) => value is MessagePort;
let entangle: (a: MessagePort, b: MessagePort) => void;
let startPort: (port: MessagePort) => void;

export class MessagePort extends EventTarget {
  #other: MessagePort | undefined;
  #queue: Cloned[] = [];
  #started = false;
  #scheduled = false;
  #detached = false;

  constructor(token: unknown = undefined) {
    requireInternal(token);
    super();
  }

  postMessage(message: unknown, options: unknown = undefined): void {
    void this.#queue;
    requireArguments(arguments.length, 1, 'MessagePort.postMessage');
    const transfer = toTransfer(options);
    const other = this.#other;
    let reaches = other !== undefined;
    for (let i = 0; i < transfer.length; i++) {
      if (transfer[i] === this) throw newDOMException('A port cannot be transferred through itself', 'DataCloneError');
      // What takes its own receiver along reaches nobody.
      if (transfer[i] === other) reaches = false;
    }
    const cloned = structuredCloneWith(message, transfer);
    if (!reaches || other === undefined) return;
    append(other.#queue, cloned);
    other.#schedule();
  }

  start(): void {
    if (this.#detached) return;
    this.#started = true;
    this.#schedule();
  }

  close(): void {
    this.#detached = true;
    const other = this.#other;
    this.#other = undefined;
    this.#queue = [];
    if (other !== undefined) other.#other = undefined;
  }

  /** Each message is a task of its own. */
  #schedule(): void {
    if (!this.#started || this.#scheduled || this.#queue.length === 0) return;
    this.#scheduled = true;
    begin('timer', { ms: 0 }, undefined, () => {
      this.#scheduled = false;
      if (this.#queue.length === 0) return;
      const { value, transferred } = arrayShift(this.#queue) as Cloned;
      const ports: unknown[] = [];
      for (let i = 0; i < transferred.length; i++) if (isPort(transferred[i])) append(ports, transferred[i]);
      fire(this, new MessageEvent('message', { data: value, ports }));
      this.#schedule();
    });
  }

  static {
    isPort = (value): value is MessagePort => isObject(value) && #queue in value;
    entangle = (a, b) => {
      a.#other = b;
      b.#other = a;
    };
    startPort = (port) => {
      if (!port.#started) port.start();
    };
    append(transferables, {
      is: (object) => #queue in object,
      isFree: (object) => !(object as MessagePort).#detached,
      move: (object) => {
        const port = object as MessagePort;
        const moved = new MessagePort(internal);
        const other = port.#other;
        port.#other = undefined;
        port.#detached = true;
        moved.#queue = port.#queue;
        port.#queue = [];
        if (other !== undefined) entangle(moved, other);
        return moved;
      },
    });
  }
}

/** A sequence of objects to transfer, or a dictionary with one. */
function toTransfer(options: unknown): object[] {
  const toObject = (value: unknown): object => {
    if (!isObject(value)) throw new TypeError('transfer has something that is no object');
    return value;
  };
  if (options === undefined || options === null) return [];
  if (!isObject(options)) throw new TypeError('options is not an object');
  if (isArray(options) || (options as Record<PropertyKey, unknown>)[iteratorSymbol] !== undefined) return arraySlice(toSequence(options, toObject, 'transfer'));
  return member(options as Record<string, unknown>, 'transfer', (value) => toSequence(value, toObject, 'transfer')) ?? [];
}

export class MessageChannel {
  #port1 = new MessagePort(internal);
  #port2 = new MessagePort(internal);
  constructor() {
    entangle(this.#port1, this.#port2);
  }
  get port1(): MessagePort {
    return this.#port1;
  }
  get port2(): MessagePort {
    return this.#port2;
  }
}

export function install(global: object): void {
  defineInterface(global, 'MessageEvent', MessageEvent);
  defineInterface(global, 'MessagePort', MessagePort, { length: 0 });
  defineHandler(MessagePort.prototype, 'message');
  defineHandler(MessagePort.prototype, 'messageerror');
  // Setting the handler starts the port, listening does not.
  const handler = getOwnPropertyDescriptor(MessagePort.prototype, 'onmessage') as PropertyDescriptor;
  const before = handler.set as (value: unknown) => void;
  const accessor = {
    set onmessage(value: unknown) {
      if (!isPort(this)) throw new TypeError('Illegal invocation');
      reflectApply(before, this, [value]);
      startPort(this);
    },
  };
  handler.set = getOwnPropertyDescriptor(accessor, 'onmessage')?.set as (value: unknown) => void;
  defineProperty(MessagePort.prototype, 'onmessage', descriptor(handler));
  defineInterface(global, 'MessageChannel', MessageChannel);
}

// The runtime: what the worker calls to prepare a program, to run a handler of it, and to tell it what happened.
//
// A run begins with `run`. It has answered when `host.respond`, `host.answer` or `host.fail` was called, and is done when besides that the body
// is sent and every promise that it passed to `waitUntil` is settled. One engine has one run at a time.

import { abortSignal } from './abort.ts';
import { bytesAtHand, consumers, isUnusable, remoteBody } from './body.ts';
import {
  accept, closed, endInput, type ExecutionContext, inputTo, newContext, newPart, newSocket, type PartHead, stopContext, type WebSocketServer,
} from './context.ts';
import { upload } from './fetch.ts';
import type { Handler, HeaderPair, RequestHead, ResponseHead, RunParams, Runtime } from './host.ts';
import { inspect, programFrames } from './inspect.ts';
import { program } from './location.ts';
import {
  append, arrayShift, bufferOf, bytesIn, copyOf, getPrototypeOf, hasOwn, isArray, isArrayBuffer, isView, jsonParse, jsonStringify,
  promiseResolve, promiseThen, reflectApply, stringToLowerCase, subarray,
} from './primordials.ts';
import { seed } from './random.ts';
import { rejection, rejections, report } from './report.ts';
import { incomingRequest, type Request, signalOf } from './request.ts';
import { isResponse, stateOf } from './response.ts';
import { defineScriptGlobals, type Output, type Script, scriptOf } from './script.ts';
import { isObject, newDOMException } from './webidl.ts';
import { begin as beginCall, host, phase, settle } from './worker.ts';

type Callable = (...args: unknown[]) => unknown;

const handlerNames = ['fetch', 'map', 'reduce', 'main', 'message', 'webSocketOpen', 'webSocketMessage', 'webSocketClose'] as const;
type Name = (typeof handlerNames)[number];

const handlers: Partial<Record<Name, Callable>> & { __proto__: null } = { __proto__: null };
/** What handlers have as `this`: the default export. */
let exported: unknown;
let script: Script | undefined;

// The run

let context: ExecutionContext | undefined;
let incoming: Request | undefined;
let answered = false;
let sent = false;
let awaited = 0;
let finished = false;
let socket: WebSocketServer | undefined;
let socketOpen = false;
// What happened at the socket or came as input, and is not handled yet: one after the other.
let queue: (() => unknown)[] = [];
let handling = false;

function loaded(namespace: object): string {
  const value = (namespace as { default?: unknown }).default;
  if (value !== undefined && (!isObject(value) || isArray(value))) throw new TypeError(`The default export is no object with handlers but ${inspect(value, 0)}`);
  exported = value;
  const found: string[] = [];
  for (let i = 0; i < handlerNames.length; i++) {
    const name = handlerNames[i] as Name;
    const own: unknown = value === undefined ? undefined : (value as Record<string, unknown>)[name];
    const handler = own === undefined && hasOwn(namespace, name) ? (namespace as Record<string, unknown>)[name] : own;
    if (handler === undefined) continue;
    if (typeof handler !== 'function') throw new TypeError(`The handler ${name} is no function but ${inspect(handler, 0)}`);
    handlers[name] = handler as Callable;
    append(found, name);
  }
  return jsonStringify(found) as string;
}

function run(handler: Handler, json: string, bytes: ArrayBuffer | undefined): void {
  const params = jsonParse(json) as RunParams;
  program.base = params.base;
  phase.running = true;
  phase.timeOrigin = undefined;
  answered = sent = finished = socketOpen = handling = false;
  awaited = 0;
  queue = [];
  socket = incoming = undefined;
  context = newContext({ env: params.env, caller: params.caller, base: params.base, parameters: params.parameters ?? {}, waitUntil });
  try {
    begin(handler, params, bytes, context);
  } catch (error) {
    fail(error);
  }
}

function begin(handler: Handler, params: RunParams, bytes: ArrayBuffer | undefined, ctx: ExecutionContext): void {
  switch (handler) {
    case 'fetch': {
      const head = params.request as RequestHead;
      incoming = incomingRequest(head, head.body ? remoteBody(0) : null);
      if (isUpgrade(head) && handlesSockets()) openSocket(incoming, ctx);
      else follow(call('fetch', [incoming, params.env, ctx]), respond);
      return;
    }
    case 'map':
      follow(call('map', [newPart(params.part as PartHead), ctx]), answerValue);
      return;
    case 'reduce':
      follow(call('reduce', [valuesOf(params, bytes), ctx]), answerValue);
      return;
    case 'main':
      follow(call('main', [params.args ?? [], ctx]), (value) => {
        endInput(ctx);
        answer(value);
      });
      return;
    case 'message':
      follow(call('message', [messageData(params.text === true, bytes), ctx]), answer);
      return;
    case 'script':
      runScript(params);
      return;
    default:
      throw new TypeError(`There is no run of ${handler as string}`);
  }
}
const NativeArrayBuffer = ArrayBuffer;

/** The values that are to be reduced: JSON, and in the places that `binary` names the next of the bytes. */
function valuesOf(params: RunParams, bytes: ArrayBuffer | undefined): unknown[] {
  const values = params.parts ?? [];
  const binary = params.binary ?? [];
  const all = new NativeUint8Array(bytes ?? new NativeArrayBuffer(0));
  let at = 0;
  for (let i = 0; i < binary.length; i++) {
    const [index, length] = binary[i] as [number, number];
    values[index] = copyOf(subarray(all, at, at + length));
    at += length;
  }
  return values;
}
const NativeUint8Array = Uint8Array;

function call(name: Name, args: unknown[]): unknown {
  const handler = handlers[name];
  if (handler === undefined) throw new TypeError(`The program has no handler ${name}`);
  return reflectApply(handler, exported, args);
}

/** Goes on when the value of a handler is there: at once if it is no promise. */
function follow(value: unknown, next: (value: unknown) => void): void {
  const checked = (result: unknown): void => {
    try {
      next(result);
    } catch (error) {
      fail(error);
    }
  };
  if (isObject(value) && !isResponse(value)) promiseThen(promiseResolve(value), checked, fail);
  else checked(value);
}

// What a run comes to

function respond(value: unknown): void {
  if (!isResponse(value)) throw new TypeError(`The handler fetch returned ${describe(value)}, not a Response`);
  const state = stateOf(value);
  if (state.type === 'error') throw new TypeError('The handler fetch returned a network error (Response.error())');
  if (isUnusable(state.body)) throw new TypeError('The body of the Response that the handler fetch returned was used already');
  if (state.body === null) {
    sendHead(state.status, state.statusText, state.headers.pairs, 'none', undefined);
    return;
  }
  const bytes = bytesAtHand(state.body);
  if (bytes !== undefined) {
    state.body.used = true;
    sendHead(state.status, state.statusText, state.headers.pairs, 'bytes', bytes);
    return;
  }
  sendHead(state.status, state.statusText, state.headers.pairs, 'stream', undefined);
  promiseThen(upload(state.body, 0, ignore), bodySent, bodySent);
}

function sendHead(status: number, statusText: string, headers: HeaderPair[], body: ResponseHead['body'], bytes: ArrayBuffer | undefined): void {
  // JSON of ResponseHead; most of it needs no quoting. (The engine makes template literals with String.prototype.concat, sums it does not.)
  const text = statusText === '' ? '""' : (jsonStringify(statusText) as string);
  host.respond('{"status":' + status + ',"statusText":' + text + ',"headers":' + (jsonStringify(headers) as string) + ',"body":"' + body + '"}', bytes, body !== 'stream' && awaited === 0 && !handling && queue.length === 0);
  answered = true;
  if (body !== 'stream') bodySent();
}

function bodySent(): void {
  sent = true;
  settleRun();
}

function answer(value: unknown): void {
  if (isArrayBuffer(value) || isView(value)) {
    host.answer(undefined, bufferOf(copyOf(bytesIn(value))));
  } else {
    // A value that JSON has no word for (undefined, a function) is null.
    host.answer(jsonStringify(value) ?? 'null', undefined);
  }
  answered = true;
  bodySent();
}

/** What `map` and `reduce` come to is a value. */
function answerValue(value: unknown): void {
  if (isResponse(value)) throw new TypeError('map and reduce return values, not a Response: the node makes the answer of the last one');
  answer(value);
}

function fail(error: unknown): void {
  if (answered) {
    report(error);
    return;
  }
  const { name, message, stack } = partsOf(error);
  host.fail(name, message, stack);
  answered = true;
  bodySent();
}

function partsOf(error: unknown): { name: string; message: string; stack: string } {
  const text = (key: string): string | undefined => {
    try {
      const value = (error as Record<string, unknown>)[key];
      return typeof value === 'string' ? value : undefined;
    } catch {
      return undefined;
    }
  };
  if (!isObject(error)) return { name: 'Error', message: `thrown: ${inspect(error)}`, stack: '' };
  const name = text('name');
  const message = text('message');
  if (name === undefined || message === undefined) return { name: 'Error', message: `thrown: ${inspect(error)}`, stack: '' };
  const stack = programFrames(text('stack') ?? '');
  return { name, message, stack: hasOwn(error, 'cause') ? `${stack}\n  [cause]: ${inspect((error as { cause?: unknown }).cause)}` : stack };
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'object' && value !== null && getPrototypeOf(value) !== null) return `an object (${inspect(value, 0)})`;
  return inspect(value, 0);
}

function waitUntil(promise: Promise<unknown>): void {
  awaited++;
  promiseThen(
    promise,
    () => {
      awaited--;
      settleRun();
    },
    (reason) => {
      // The answer is on its way already, so that the log is the place for it.
      report(reason);
      awaited--;
      settleRun();
    },
  );
}

function settleRun(): void {
  if (finished || !answered || !sent || awaited > 0 || socketOpen || handling || queue.length > 0) return;
  finished = true;
  host.done();
}

// Requests

function handlesSockets(): boolean {
  return handlers.webSocketOpen !== undefined || handlers.webSocketMessage !== undefined || handlers.webSocketClose !== undefined;
}

function isUpgrade(head: RequestHead): boolean {
  for (let i = 0; i < head.headers.length; i++) {
    const pair = head.headers[i] as HeaderPair;
    if (pair[0] === 'upgrade' && stringToLowerCase(pair[1]) === 'websocket') return true;
  }
  return false;
}

function messageData(text: boolean, bytes: ArrayBuffer | undefined): string | ArrayBuffer {
  const data = bytes ?? new NativeArrayBuffer(0);
  return text ? host.decode('utf-8', data, false, true) : data;
}

// Sockets and input

function openSocket(request: Request, ctx: ExecutionContext): void {
  const ws = newSocket(request, () => {
    socket = ws;
    socketOpen = true;
    const head: ResponseHead = { status: 101, statusText: '', headers: [], body: 'none', webSocket: true };
    host.respond(jsonStringify(head) as string, undefined, false);
    answered = sent = true;
  });
  if (handlers.webSocketOpen === undefined) {
    accept(ws);
    return;
  }
  // Messages that come while it opens wait for its end.
  handling = true;
  const opened = (value: unknown): void => {
    // It may refuse by returning a Response, as long as it sent nothing.
    if (socketOpen && value !== undefined) report(new TypeError(`The handler webSocketOpen returned ${describe(value)} after it sent a message`));
    else if (!socketOpen && value === undefined) accept(ws);
    else if (!socketOpen) respond(value);
    handling = false;
    handleNext();
  };
  const failed = (reason: unknown): void => {
    fail(reason);
    if (socketOpen) beginCall('socketClose', { code: 1011 }, undefined, () => {});
    handling = false;
    handleNext();
  };
  try {
    const value = call('webSocketOpen', [ws, ctx]);
    if (isObject(value) && !isResponse(value)) promiseThen(promiseThen(promiseResolve(value), opened), ignore, failed);
    else opened(value);
  } catch (error) {
    failed(error);
  }
}
function ignore(): void {}

function enqueue(action: () => unknown): void {
  append(queue, action);
  handleNext();
}

function handleNext(): void {
  if (handling) return;
  const action = arrayShift(queue);
  if (action === undefined) {
    settleRun();
    return;
  }
  handling = true;
  const next = (): void => {
    handling = false;
    handleNext();
  };
  let value: unknown;
  try {
    value = action();
  } catch (error) {
    report(error);
  }
  if (!isObject(value)) next();
  else
    promiseThen(promiseResolve(value), next, (reason) => {
      report(reason);
      next();
    });
}

function event(name: string, json: string, bytes: ArrayBuffer | undefined): void {
  const ctx = context;
  if (ctx === undefined || finished) return;
  const params = jsonParse(json) as { text?: boolean; code?: number; reason?: string };
  switch (name) {
    case 'socketMessage': {
      const ws = socket;
      if (ws === undefined || handlers.webSocketMessage === undefined) return;
      const data = messageData(params.text === true, bytes);
      enqueue(() => call('webSocketMessage', [ws, data, ctx]));
      return;
    }
    case 'socketClose': {
      const ws = socket;
      if (ws === undefined) return;
      enqueue(() => {
        closed(ws);
        socketOpen = false;
        if (handlers.webSocketClose === undefined) return undefined;
        return call('webSocketClose', [ws, ctx, { code: params.code ?? 1005, reason: params.reason ?? '' }]);
      });
      return;
    }
    case 'input': {
      const data = messageData(params.text === true, bytes);
      if (handlers.message === undefined) inputTo(ctx, data);
      else enqueue(() => call('message', [data, ctx]));
      return;
    }
    case 'stop':
      stopContext(ctx);
      if (incoming !== undefined) abortSignal(signalOf(incoming), newDOMException('The client has gone, or the run was asked to stop', 'AbortError'));
      return;
  }
}

// Scripts of the JSFS-SX experiment

async function runScript(params: RunParams): Promise<void> {
  let output: Output | undefined;
  try {
    const head = params.request as RequestHead;
    const body = head.body ? await consumers.text({ body: remoteBody(0), contentType: () => null }) : '';
    output = defineScriptGlobals(head, body, () => sendHead(200, '', [], 'stream', undefined));
    await (reflectApply(script as Script, globalThis, []) as Promise<unknown>);
  } catch (error) {
    // What it pushed is sent, and what it left to send follows.
    fail(error);
    if (output === undefined || !output.begun) return;
  }
  const rest = output.end();
  if (output.begun) promiseThen(output.sent(), bodySent, bodySent);
  else sendHead(200, '', [], 'bytes', host.encode(rest));
}

export const runtime: Runtime = {
  prepare(base) {
    program.base = base;
  },
  loaded,
  script(source) {
    script = scriptOf(source);
    return '["script"]';
  },
  restored: seed,
  run,
  settle,
  event,
  rejection,
  rejections,
};

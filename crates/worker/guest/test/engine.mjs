// The engine in Node.js: a worker in small, with Node's own URL, encodings, cryptography and fetch behind the boundary of host.ts.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { EvalFlags, QuickJS } from 'quickjs-wasi';
import { perform } from './host_crypto.mjs';

const dist = new URL('../dist/', import.meta.url);
const wasm = await WebAssembly.compile(readFileSync(new URL('quickjs.wasm', dist)));
const prelude = readFileSync(new URL('prelude.js', dist), 'utf8');
const STRIP_SOURCE = 16;

const methodNames = ['prepare', 'loaded', 'script', 'restored', 'run', 'settle', 'event', 'rejection', 'rejections'];

let bytecode;

export class Engine {
  /** A fresh engine with the prelude evaluated. */
  static async create(options = {}) {
    const engine = new Engine();
    engine.options = options;
    engine.vm = await QuickJS.create({
      wasm,
      memoryLimit: 64 << 20,
      maxStackSize: 256 << 10,
      timezoneOffset: 0,
      onUnhandledRejection: (promise, reason, handled) => engine.#noteRejection(promise, reason, handled),
    });
    engine.#defineHost();
    if (bytecode === undefined) bytecode = engine.vm.compile(prelude, 'prelude.js', 0, STRIP_SOURCE);
    engine.vm.evalBytecode(bytecode).dispose();
    engine.runtime = engine.vm.global.getProp('__runtime');
    engine.methods = {};
    for (const name of methodNames) engine.methods[name] = engine.runtime.getProp(name);
    engine.vm.evalCode('delete globalThis.__runtime').dispose();
    return engine;
  }

  /** The whole engine as bytes, and what finds the runtime in them again. */
  image() {
    const { vm } = this;
    vm.runGC();
    return {
      runtime: vm.exportHandle(this.runtime.dup()),
      methods: methodNames.map((name) => vm.exportHandle(this.methods[name].dup())),
      snapshot: vm.snapshot(),
    };
  }

  /** A fresh engine in the state of an image. */
  static async restore({ snapshot, runtime, methods }, options = {}) {
    const engine = new Engine();
    engine.options = options;
    engine.vm = await QuickJS.restore(snapshot, {
      wasm,
      memoryLimit: 64 << 20,
      maxStackSize: 256 << 10,
      timezoneOffset: 0,
      onUnhandledRejection: (promise, reason, handled) => engine.#noteRejection(promise, reason, handled),
    });
    for (const [name, f] of Object.entries(engine.#functions())) engine.vm.registerHostCallback(name, f);
    engine.runtime = engine.vm.importHandle(runtime);
    engine.methods = Object.fromEntries(methodNames.map((name, i) => [name, engine.vm.importHandle(methods[i])]));
    return engine;
  }

  logs = [];
  started = performance.now();
  /** Calls under way: what ends them. */
  calls = new Map();
  /** Bodies: what reads them, by number. */
  bodies = new Map();
  writers = new Map();

  // Calls up

  call(method, ...args) {
    const handles = args.map((arg) => this.#toGuest(arg));
    const result = this.vm.callFunction(this.methods[method], this.runtime, ...handles);
    for (const handle of handles) handle.dispose();
    return result.consume((value) => this.vm.dump(value));
  }

  /** A call up, and the jobs that it left. */
  up(method, ...args) {
    const result = this.call(method, ...args);
    this.jobs();
    return result;
  }

  jobs() {
    do this.vm.executePendingJobs();
    while (this.call('rejections'));
  }

  /** Evaluates a module and tells the runtime what it exports. */
  load(source, name = 'program.js', base = 'http://localhost/program.js') {
    this.up('prepare', base);
    const promise = this.vm.evalCode(source, name, EvalFlags.TYPE_MODULE);
    this.jobs();
    const out = { namespace: undefined, error: undefined };
    const onOk = this.vm.newEphemeralFunction((ns) => ((out.namespace = ns.dup()), this.vm.undefined));
    const onError = this.vm.newEphemeralFunction((error) => ((out.error = this.vm.dump(error)), this.vm.undefined));
    this.vm.promiseThenRaw(promise, onOk, onError);
    this.jobs();
    if (out.error !== undefined) throw Object.assign(new Error(out.error.message), { name: out.error.name, stack: out.error.stack });
    return JSON.parse(this.call('loaded', out.namespace));
  }

  script(source) {
    this.up('prepare', 'http://localhost/program.js');
    return JSON.parse(this.call('script', source));
  }

  /** Runs a handler; settles when it is done. `body` is what `read` of 0 gives. */
  run(handler, params, bytes, body) {
    this.looks = 0;
    this.answer = { head: undefined, bytes: undefined, json: undefined, failure: undefined, body: [], closed: undefined };
    if (body !== undefined) this.bodies.set(0, body[Symbol.asyncIterator] !== undefined ? body[Symbol.asyncIterator]() : body[Symbol.iterator]());
    const finished = new Promise((resolve) => {
      this.finished = resolve;
    });
    this.up('restored', randomBytes(32).buffer.slice(0, 32));
    this.up('run', handler, JSON.stringify({ base: 'http://localhost/program.js', env: {}, caller: { kind: 'anonymous' }, ...params }), bytes);
    return finished.then(() => this.answer);
  }

  event(name, params, bytes) {
    this.up('event', name, JSON.stringify(params), bytes);
  }

  // Calls down

  #defineHost() {
    const { vm } = this;
    const host = vm.newObject();
    for (const [name, f] of Object.entries(this.#functions())) {
      const guest = vm.newFunction(name, f);
      host.setProp(name, guest);
      guest.dispose();
    }
    vm.setProp(vm.global, '__host', host);
    host.dispose();
  }

  #functions() {
    const now = () => performance.timeOrigin + performance.now();
    const functions = {
      log: (level, text) => void this.logs.push({ level, text }),
      random: (length) => new Uint8Array(randomBytes(length)).buffer,
      now,
      elapsed: () => performance.now() - this.started,
      encode: (text) => new TextEncoder().encode(text).buffer,
      decode: (encoding, bytes, fatal, keepMark) => new TextDecoder(encoding, { fatal, ignoreBOM: keepMark }).decode(bytes),
      encodingName: (label) => {
        try {
          return new TextDecoder(label).encoding;
        } catch {
          return undefined;
        }
      },
      incomplete: (encoding, bytes) => {
        if (encoding === 'iso-2022-jp') return incompleteIso2022Jp(new Uint8Array(bytes));
        // What a decoder says nothing of, though more may come, is what it keeps.
        const said = (length) => new TextDecoder(encoding).decode(bytes.slice(0, length), { stream: true });
        for (let kept = 3; kept > 0; kept--) if (kept <= bytes.byteLength && said(bytes.byteLength - kept) === said(bytes.byteLength)) return kept;
        return 0;
      },
      urlParse: (url, base) => {
        try {
          return partsOf(new URL(url, base));
        } catch {
          return undefined;
        }
      },
      urlSet: (href, part, value) => {
        const url = new URL(href);
        url[part] = value;
        return partsOf(url);
      },
      crypto: (operation, params, ...buffers) => this.#crypto(operation, params, buffers),
      start: (id, operation, params, bytes) => this.#start(id, operation, JSON.parse(params), bytes),
      cancel: (id) => this.#cancel(id),
      respond: (head, bytes) => {
        if (this.answer.head !== undefined) throw new Error('respond was called twice');
        this.answer.head = JSON.parse(head);
        this.answer.bytes = bytes;
        this.options.onRespond?.(this.answer);
      },
      answer: (json, bytes) => {
        this.answer.json = json === undefined ? undefined : JSON.parse(json);
        this.answer.bytes = bytes;
      },
      fail: (name, message, stack) => void (this.answer.failure = { name, message, stack }),
      done: () => void this.finished(),
    };
    const guarded = (f) => (...args) => {
      try {
        return this.#toGuest(f(...args.map((arg) => this.#fromGuest(arg))));
      } catch (error) {
        // Only what the contract says: a name and a message.
        throw Object.assign(new Error(error.message), { name: error.name, stack: '' });
      }
    };
    return Object.fromEntries(Object.entries(functions).map(([name, f]) => [name, guarded(f)]));
  }

  #toGuest(value) {
    const { vm } = this;
    if (value === undefined) return vm.undefined;
    if (typeof value === 'string') return vm.newString(value);
    if (typeof value === 'number') return vm.newNumber(value);
    if (typeof value === 'boolean') return value ? vm.true : vm.false;
    if (value instanceof ArrayBuffer) return vm.newArrayBuffer(value);
    return value;
  }

  #fromGuest(handle) {
    switch (this.vm.typeof(handle)) {
      case 'undefined':
        return undefined;
      case 'object':
        return handle.toArrayBuffer();
      default:
        return this.vm.dump(handle);
    }
  }

  #noteRejection(promise, reason, handled) {
    if (this.methods === undefined) return;
    this.vm.callFunction(this.methods.rejection, this.runtime, promise, reason, handled ? this.vm.true : this.vm.false).dispose();
  }

  // Operations

  #end(id, ok, json, bytes) {
    if (!this.calls.delete(id)) return;
    this.up('settle', id, ok, json, bytes);
  }

  #start(id, operation, params, bytes) {
    const call = {};
    this.calls.set(id, call);
    const ok = (json, result) => this.#end(id, true, json === undefined ? undefined : JSON.stringify(json), result);
    const failed = (error) => this.#end(id, false, JSON.stringify({ name: error.name, message: error.message }));
    switch (operation) {
      case 'timer':
        call.timer = setTimeout(ok, Math.min(params.ms, 2 ** 31 - 1));
        return;
      case 'fetch':
        this.#fetch(id, params, bytes, call).then(ok, (error) => failed({ name: 'TypeError', message: error.cause?.message ?? error.message }));
        return;
      case 'read':
        this.#read(params.of).then(
          (piece) => (piece === undefined ? ok({ done: true }) : ok(undefined, piece)),
          (error) => failed({ name: 'TypeError', message: error.message }),
        );
        return;
      case 'look':
        this.looks++;
        setImmediate(ok);
        return;
      case 'write':
        if (params.to === 0) {
          this.answer.body.push(Buffer.from(bytes));
          setImmediate(ok);
        } else {
          this.writers.get(params.to)?.push(bytes);
          setImmediate(ok);
        }
        return;
      case 'close':
        if (params.to === 0) this.answer.closed = params.error ?? '';
        else this.writers.get(params.to)?.end(params.error);
        setImmediate(ok);
        return;
      case 'socketSend':
        this.options.onSocketSend?.(params.text ?? Buffer.from(bytes));
        setImmediate(ok);
        return;
      case 'socketClose':
        setImmediate(ok);
        setImmediate(() => this.options.onSocketClose?.(params));
        return;
      default:
        throw Object.assign(new Error(`no operation ${operation}`), { name: 'NotSupportedError' });
    }
  }

  #cancel(id) {
    const call = this.calls.get(id);
    clearTimeout(call?.timer);
    call?.controller?.abort();
    this.calls.delete(id);
    const body = this.bodies.get(id);
    this.bodies.delete(id);
    body?.return?.()?.catch?.(() => {});
  }

  async #read(of) {
    const body = this.bodies.get(of);
    if (body === undefined) return undefined;
    const { done, value } = await body.next();
    return done ? undefined : Uint8Array.from(typeof value === 'string' ? Buffer.from(value) : value).buffer;
  }

  async #fetch(id, { url, method, headers, body, redirect }, bytes, call) {
    call.controller = new AbortController();
    let content = bytes;
    if (body === 'stream') content = this.#uploading(id);
    const response = await fetch(url, { method, headers, redirect, body: content, duplex: 'half', signal: call.controller.signal });
    if (response.body !== null) this.bodies.set(id, response.body[Symbol.asyncIterator]());
    return {
      status: response.status, statusText: response.statusText, url: response.url, redirected: response.redirected, headers: [...response.headers],
      body: response.body !== null,
    };
  }

  #uploading(id) {
    let controller;
    const stream = new ReadableStream({
      start: (c) => {
        controller = c;
      },
    });
    this.writers.set(id, {
      push: (piece) => controller.enqueue(new Uint8Array(piece)),
      end: (error) => (error === undefined ? controller.close() : controller.error(new TypeError(error))),
    });
    return stream;
  }

  #crypto(operation, params, buffers) {
    const result = perform(operation, params, buffers.map((buffer) => new Uint8Array(buffer)));
    return typeof result === 'string' ? result : Uint8Array.from(result).buffer;
  }
}

function partsOf(url) {
  const { href, origin, protocol, username, password, host, hostname, port, pathname, search, hash } = url;
  return JSON.stringify({ href, origin, protocol, username, password, host, hostname, port, pathname, search, hash });
}

/** Escape sequences say nothing even when they are complete, so that this encoding is walked through. */
function incompleteIso2022Jp(bytes) {
  let double = false;
  for (let i = 0; i < bytes.length; ) {
    const rest = bytes.length - i;
    if (bytes[i] === 0x1b) {
      if (rest === 1 || (rest === 2 && (bytes[i + 1] === 0x24 || bytes[i + 1] === 0x28))) return rest;
      if (bytes[i + 1] === 0x24) double = true;
      else if (bytes[i + 1] === 0x28) double = false;
      i += 3;
    } else if (double) {
      if (rest === 1) return 1;
      i += 2;
    } else {
      i++;
    }
  }
  return 0;
}

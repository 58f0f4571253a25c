// Web IDL, section 3.7: the shape of interfaces, of their members and of the global object.
//
// Node.js makes many of these with other attributes, so that it is no reference here.

const options = { nodeDiffers: 'has interfaces of another shape' };

// Attributes are read-only unless they end in `=`; operations have their length after a slash; `~` marks what answers promises.
const interfaces = {
  Event: {
    length: 1, make: () => new Event('x'),
    members: 'type target srcElement currentTarget eventPhase cancelBubble= bubbles cancelable returnValue= defaultPrevented composed timeStamp composedPath/0 stopPropagation/0 stopImmediatePropagation/0 preventDefault/0 initEvent/1',
  },
  CustomEvent: { length: 1, parent: 'Event', make: () => new CustomEvent('x'), members: 'detail initCustomEvent/1' },
  ErrorEvent: { length: 1, parent: 'Event', make: () => new ErrorEvent('x'), members: 'message filename lineno colno error' },
  CloseEvent: { length: 1, parent: 'Event', make: () => new CloseEvent('x'), members: 'wasClean code reason' },
  MessageEvent: { length: 1, parent: 'Event', make: () => new MessageEvent('x'), members: 'data origin lastEventId source ports initMessageEvent/1' },
  ProgressEvent: { length: 1, parent: 'Event', make: () => new ProgressEvent('x'), members: 'lengthComputable loaded total' },
  PromiseRejectionEvent: {
    length: 2, parent: 'Event', make: () => new PromiseRejectionEvent('x', { promise: Promise.resolve() }), members: 'promise reason',
  },
  EventTarget: { length: 0, make: () => new EventTarget(), members: 'addEventListener/2 removeEventListener/2 dispatchEvent/1' },
  AbortController: { length: 0, make: () => new AbortController(), members: 'signal abort/0' },
  AbortSignal: {
    length: 0, parent: 'EventTarget', make: () => new AbortController().signal, members: 'aborted reason onabort= throwIfAborted/0', statics: 'abort/0 timeout/1 any/1',
  },
  MessageChannel: { length: 0, make: () => new MessageChannel(), members: 'port1 port2' },
  MessagePort: {
    length: 0, parent: 'EventTarget', make: () => new MessageChannel().port1,
    members: 'postMessage/1 start/0 close/0 onmessage= onmessageerror=',
  },
  Headers: {
    length: 0, make: () => new Headers(),
    members: 'append/2 delete/1 get/1 getSetCookie/0 has/1 set/2 entries/0 keys/0 values/0 forEach/1', iterable: true,
  },
  Request: {
    length: 1, make: () => new Request('http://x/'),
    members: 'method url headers destination referrer referrerPolicy mode credentials cache redirect integrity keepalive isReloadNavigation isHistoryNavigation signal duplex body bodyUsed clone/0 arrayBuffer/0~ blob/0~ bytes/0~ formData/0~ json/0~ text/0~',
  },
  Response: {
    length: 0, make: () => new Response(),
    members: 'type url redirected status ok statusText headers body bodyUsed clone/0 arrayBuffer/0~ blob/0~ bytes/0~ formData/0~ json/0~ text/0~',
    statics: 'error/0 redirect/1 json/1',
  },
  ReadableStream: {
    length: 0, make: () => new ReadableStream(), members: 'locked cancel/0~ getReader/0 pipeThrough/1 pipeTo/1~ tee/0 values/0', statics: 'from/1',
  },
  ReadableStreamDefaultReader: {
    length: 1, make: () => new ReadableStream().getReader(), members: 'closed~ cancel/0~ read/0~ releaseLock/0',
  },
  ReadableStreamBYOBReader: {
    length: 1, make: () => new ReadableStream({ type: 'bytes' }).getReader({ mode: 'byob' }), members: 'closed~ cancel/0~ read/1~ releaseLock/0',
  },
  ReadableStreamDefaultController: {
    length: 0, make: () => controllerOf(ReadableStream, {}), members: 'desiredSize close/0 enqueue/0 error/0',
  },
  ReadableByteStreamController: {
    length: 0, make: () => controllerOf(ReadableStream, { type: 'bytes' }), members: 'byobRequest desiredSize close/0 enqueue/1 error/0',
  },
  ReadableStreamBYOBRequest: { length: 0, members: 'view respond/1 respondWithNewView/1' },
  WritableStream: { length: 0, make: () => new WritableStream(), members: 'locked abort/0~ close/0~ getWriter/0' },
  WritableStreamDefaultWriter: {
    length: 1, make: () => new WritableStream().getWriter(), members: 'closed~ desiredSize ready~ abort/0~ close/0~ releaseLock/0 write/0~',
  },
  WritableStreamDefaultController: { length: 0, make: () => controllerOf(WritableStream, {}), members: 'signal error/0' },
  TransformStream: { length: 0, make: () => new TransformStream(), members: 'readable writable' },
  TransformStreamDefaultController: {
    length: 0, make: () => controllerOf(TransformStream, {}), members: 'desiredSize enqueue/0 error/0 terminate/0',
  },
  ByteLengthQueuingStrategy: { length: 1, make: () => new ByteLengthQueuingStrategy({ highWaterMark: 1 }), members: 'highWaterMark size' },
  CountQueuingStrategy: { length: 1, make: () => new CountQueuingStrategy({ highWaterMark: 1 }), members: 'highWaterMark size' },
  DOMException: { length: 0, make: () => new DOMException(), members: 'name message code', parentPrototype: 'Error' },
  Performance: { length: 0, parent: 'EventTarget', make: () => performance, members: 'timeOrigin now/0 toJSON/0' },
  Blob: { length: 0, make: () => new Blob(), members: 'size type slice/0 stream/0 text/0~ arrayBuffer/0~ bytes/0~' },
  File: { length: 2, parent: 'Blob', make: () => new File([], 'x'), members: 'name lastModified' },
  FormData: {
    length: 0, make: () => new FormData(),
    members: 'append/2 delete/1 get/1 getAll/1 has/1 set/2 entries/0 keys/0 values/0 forEach/1', iterable: true,
  },
  URLSearchParams: {
    length: 0, make: () => new URLSearchParams(),
    members: 'size append/2 delete/1 get/1 getAll/1 has/1 set/2 sort/0 toString/0 entries/0 keys/0 values/0 forEach/1', iterable: true,
  },
  URL: {
    length: 1, make: () => new URL('http://x/'),
    members: 'href= origin protocol= username= password= host= hostname= port= pathname= search= searchParams hash= toJSON/0 toString/0',
    statics: 'canParse/1 parse/1 createObjectURL/1 revokeObjectURL/1',
  },
  TextEncoder: { length: 0, make: () => new TextEncoder(), members: 'encoding encode/0 encodeInto/2' },
  TextDecoder: { length: 0, make: () => new TextDecoder(), members: 'encoding fatal ignoreBOM decode/0' },
  TextEncoderStream: { length: 0, make: () => new TextEncoderStream(), members: 'encoding readable writable' },
  TextDecoderStream: { length: 0, make: () => new TextDecoderStream(), members: 'encoding fatal ignoreBOM readable writable' },
  CompressionStream: { length: 1, make: () => new CompressionStream('gzip'), members: 'readable writable' },
  DecompressionStream: { length: 1, make: () => new DecompressionStream('gzip'), members: 'readable writable' },
  Crypto: { length: 0, make: () => crypto, members: 'subtle getRandomValues/1 randomUUID/0' },
  CryptoKey: { length: 0, members: 'type extractable algorithm usages' },
  SubtleCrypto: {
    length: 0, make: () => crypto.subtle,
    members: 'encrypt/3~ decrypt/3~ sign/3~ verify/4~ digest/2~ generateKey/3~ deriveKey/5~ deriveBits/2~ importKey/5~ exportKey/2~ wrapKey/4~ unwrapKey/7~',
  },
};

function controllerOf(Stream, source) {
  let controller;
  new Stream({ ...source, start: (given) => (controller = given) });
  return controller;
}

function descriptorIs(object, key, expected) {
  const found = Object.getOwnPropertyDescriptor(object, key);
  assert(found !== undefined, `${String(key)} is missing`);
  for (const name of Object.keys(expected)) assert.equal(found[name], expected[name], `${String(key)}: ${name}`);
  return found;
}

async function refuses(promises, call, what) {
  if (promises) {
    let promise;
    try {
      promise = call();
    } catch {
      throw new Error(`${what} throws instead of rejecting`);
    }
    await assert.rejects(promise, TypeError, what);
  } else {
    assert.throws(call, TypeError, what);
  }
}

async function checkMember(holder, spec, instance, isStatic) {
  const [, name, setter, length, promises] = /^(\w+)(=?)(?:\/(\d))?(~?)$/.exec(spec);
  if (length === undefined) {
    const { get, set } = descriptorIs(holder, name, { enumerable: true, configurable: true });
    assert.equal(get.name, `get ${name}`);
    assert.equal(get.length, 0);
    assert.equal(typeof set, setter === '=' ? 'function' : 'undefined', name);
    if (set) assert.equal(set.length, 1);
    await refuses(promises, () => get.call({}), `get ${name} of something else`);
    if (set) assert.throws(() => set.call({}, 1), TypeError);
    return;
  }
  const { value } = descriptorIs(holder, name, { enumerable: true, configurable: true, writable: true });
  assert.equal(typeof value, 'function', name);
  assert.equal(value.length, Number(length), `${name}.length`);
  assert.equal(value.name, name);
  assert(!Object.hasOwn(value, 'prototype'), `${name} has a prototype`);
  assert.throws(() => new value(), TypeError, `new ${name}`);
  if (!isStatic) await refuses(promises, () => value.apply({}, Array(Number(length)).fill({})), `${name} of something else`);
  if (Number(length) > 0 && (instance !== undefined || isStatic)) {
    await refuses(promises, () => value.apply(isStatic ? holder : instance, []), `${name} without parameters`);
  }
}

for (const [name, { length, parent, parentPrototype, make, members, statics, iterable }] of Object.entries(interfaces)) {
  test(name, async () => {
    descriptorIs(globalThis, name, { writable: true, enumerable: false, configurable: true });
    const cls = globalThis[name];
    assert.equal(Object.getPrototypeOf(cls), parent === undefined ? Function.prototype : globalThis[parent]);
    const above = parent ?? parentPrototype;
    assert.equal(Object.getPrototypeOf(cls.prototype), above === undefined ? Object.prototype : globalThis[above].prototype);
    descriptorIs(cls, 'name', { value: name, writable: false, enumerable: false, configurable: true });
    descriptorIs(cls, 'length', { value: length, writable: false, enumerable: false, configurable: true });
    descriptorIs(cls, 'prototype', { writable: false, enumerable: false, configurable: false });
    descriptorIs(cls.prototype, 'constructor', { value: cls, writable: true, enumerable: false, configurable: true });
    descriptorIs(cls.prototype, Symbol.toStringTag, { value: name, writable: false, enumerable: false, configurable: true });
    assert.throws(() => cls(), TypeError);
    const instance = make?.();
    if (instance !== undefined) {
      assert(instance instanceof cls);
      assert.equal(Object.prototype.toString.call(instance), `[object ${name}]`);
      assert.equal(Object.getPrototypeOf(instance), cls.prototype);
    }
    for (const spec of members.split(' ')) await checkMember(cls.prototype, spec, instance, false);
    for (const spec of statics?.split(' ') ?? []) await checkMember(cls, spec, undefined, true);
    if (iterable) descriptorIs(cls.prototype, Symbol.iterator, { value: cls.prototype.entries, writable: true, enumerable: false, configurable: true });
    const expected = members.split(' ').map((spec) => /^\w+/.exec(spec)[0]);
    const constants = Object.getOwnPropertyNames(cls.prototype).filter((key) => /^[A-Z_]+$/.test(key));
    const extra = Object.getOwnPropertyNames(cls.prototype).filter((key) => ![...expected, ...constants, 'constructor'].includes(key));
    assert.deepEqual(extra, [], 'more members than the standard has');
  }, options);
}

test('constructors that programs may not call', () => {
  for (const cls of [
    AbortSignal, MessagePort, Performance, ReadableStreamDefaultController, ReadableByteStreamController, ReadableStreamBYOBRequest, WritableStreamDefaultController,
    TransformStreamDefaultController, Crypto, CryptoKey, SubtleCrypto, Navigator,
  ]) {
    assert.throws(() => new cls(), TypeError, cls.name);
  }
}, options);

test('the global object', () => {
  const operations = {
    fetch: 1, setTimeout: 1, clearTimeout: 0, setInterval: 1, clearInterval: 0, queueMicrotask: 1, reportError: 1, structuredClone: 1, atob: 1, btoa: 1,
  };
  for (const [name, length] of Object.entries(operations)) {
    const { value } = descriptorIs(globalThis, name, { writable: true, enumerable: true, configurable: true });
    assert.equal(value.length, length, name);
    assert.equal(value.name, name);
    assert(!Object.hasOwn(value, 'prototype'), `${name} has a prototype`);
    if (length > 0 && name !== 'fetch') assert.throws(() => value(), TypeError, name);
  }
  for (const name of ['self', 'navigator', 'performance', 'crypto', 'onerror', 'onunhandledrejection', 'onrejectionhandled']) {
    const { get } = descriptorIs(globalThis, name, { enumerable: true, configurable: true });
    assert.equal(get.name, `get ${name}`);
    get.call(undefined);
    if (name !== 'crypto') assert.throws(() => get.call({}), TypeError, name);
  }
  descriptorIs(globalThis, 'console', { writable: true, enumerable: false, configurable: true });
  assert(globalThis instanceof EventTarget);
  const all = Object.getOwnPropertyNames(globalThis).filter((name) => name.startsWith('_'));
  assert.deepEqual(all, []);
}, options);

test('the console is a namespace', () => {
  assert.equal(Object.prototype.toString.call(console), '[object console]');
  assert.deepEqual(Object.getOwnPropertyNames(Object.getPrototypeOf(console)), []);
  assert.equal(Object.getPrototypeOf(Object.getPrototypeOf(console)), Object.prototype);
  descriptorIs(console, 'log', { writable: true, enumerable: true, configurable: true });
  assert.equal(console.log.length, 0);
}, options);

test('an exception of the platform is an error to the language', () => {
  assert.equal(Error.isError(new DOMException('no', 'AbortError')), true);
  assert.equal(Error.isError(new TypeError()), true);
  assert.equal(Error.isError(Object.create(DOMException.prototype)), false);
  assert.equal(Error.isError({ name: 'Error', message: '' }), false);
}, { nodeDiffers: 'has no Error.isError' });

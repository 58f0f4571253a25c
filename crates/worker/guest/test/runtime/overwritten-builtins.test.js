// What is built in goes on to work when a program overwrites the language's own functions.

function overwritten(work) {
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const { ownKeys } = Reflect;
  const hostile = () => {
    throw new Error('hostile');
  };
  const before = [];
  const targets = [
    Array.prototype, String.prototype, Map.prototype, Set.prototype, WeakMap.prototype, RegExp.prototype, ArrayBuffer.prototype, Date.prototype,
    DataView.prototype, Number.prototype, Boolean.prototype, Promise.prototype, Function.prototype, JSON, Math, Object, Reflect, Number, String, Array,
    ArrayBuffer, Uint8Array, globalThis,
  ];
  for (const target of targets) {
    for (const key of ownKeys(target)) {
      // The engine writes template strings with it, the tests' too.
      if (key === 'constructor' || key === 'prototype' || key === 'name' || (target === String.prototype && key === 'concat')) continue;
      const was = getOwnPropertyDescriptor(target, key);
      if (!was.configurable || typeof was.value !== 'function') continue;
      was.__proto__ = null;
      before[before.length] = { target, key, was, now: { __proto__: null, value: hostile, writable: true, enumerable: was.enumerable, configurable: true } };
    }
  }
  for (const key of ['get', 'set', 'value', 'writable', 'enumerable', 'type', 'fatal', 'maxByteLength', 'alphabet', 'endings', 'copy', 'toJSON']) {
    before[before.length] = { target: Object.prototype, key, was: undefined, now: { __proto__: null, get: hostile, configurable: true } };
  }
  const count = before.length;
  for (let i = 0; i < count; i++) defineProperty(before[i].target, before[i].key, before[i].now);
  try {
    return work();
  } finally {
    for (let i = 0; i < count; i++) {
      if (before[i].was === undefined) delete before[i].target[before[i].key];
      else defineProperty(before[i].target, before[i].key, before[i].was);
    }
  }
}

const here = { nodeDiffers: 'its builtins are those of the tests' };

test('addresses', () => {
  const { URL, URLSearchParams } = globalThis;
  assert.equal(overwritten(() => new URL('../x?a=b', 'http://h/a/b').href), 'http://h/x?a=b');
  assert.equal(overwritten(() => {
    const url = new URL('http://h/?q=a+b');
    url.searchParams.append('c', 'd !');
    url.searchParams.sort();
    return url.href;
  }), 'http://h/?c=d+%21&q=a+b');
  assert.equal(overwritten(() => new URLSearchParams({ a: 1, b: 2 }).toString()), 'a=1&b=2');
}, here);

test('encodings', () => {
  const { TextDecoder, TextEncoder } = globalThis;
  const bytes = new Uint8Array([0xe2, 0x82]);
  const last = new Uint8Array([0xac]);
  assert.equal(overwritten(() => {
    const decoder = new TextDecoder();
    return decoder.decode(bytes, { __proto__: null, stream: true }) + decoder.decode(last);
  }), '€');
  assert.equal(overwritten(() => new TextEncoder().encode('ä€')).length, 5);
  assert.deepEqual(overwritten(() => new TextEncoder().encodeInto('ä€', bytes)), { read: 1, written: 2 });
}, here);

test('clones, forms and blobs', () => {
  const { structuredClone, FormData, Blob } = globalThis;
  const source = { a: [1, { b: new Date(5) }], map: new Map([[1, new Set([2])]]), bytes: new Uint8Array([1, 2]) };
  const copy = overwritten(() => structuredClone(source));
  assert.equal(copy.a[1].b.getTime(), 5);
  assert.equal(copy.map.get(1).has(2), true);
  assert.deepEqual(copy.bytes, new Uint8Array([1, 2]));
  assert.equal(overwritten(() => {
    const form = new FormData();
    form.append('a', 'b');
    form.append('c', new Blob());
    form.set('a', 'x');
    form.delete('none');
    return form.get('a') + form.get('c').name;
  }), 'xblob');
}, here);

test('randomness', () => {
  const { crypto } = globalThis;
  assert.equal(overwritten(() => crypto.randomUUID()).length, 36);
  const bytes = new Uint8Array(32);
  overwritten(() => crypto.getRandomValues(bytes));
  assert(bytes.some((byte) => byte !== 0));
}, here);

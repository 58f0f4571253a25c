// HTML Standard, section 2.7: safe passing of structured data.

const refused = (value, options) => assert.throws(() => structuredClone(value, options), 'DataCloneError');

test('primitive values and their objects', () => {
  for (const value of [undefined, null, true, 0, -0, NaN, 2 ** 70, 'text\ud800', 10n]) assert.equal(structuredClone(value), value);
  for (const value of [true, 5, 'text', 7n]) {
    const copy = structuredClone(Object(value));
    assert.equal(typeof copy, 'object');
    assert.equal(copy.valueOf(), value);
  }
  refused(Symbol('x'));
  refused(Object(Symbol('x')));
  refused(() => {});
  assert.throws(() => structuredClone(), TypeError);
});

test('dates and regular expressions', () => {
  assert.equal(structuredClone(new Date(5)).getTime(), 5);
  assert.equal(structuredClone(new Date(NaN)).getTime(), NaN);
  const expression = /a(b)/giu;
  expression.lastIndex = 3;
  expression.extra = 1;
  const copy = structuredClone(expression);
  assert.equal(copy.source, 'a(b)');
  assert.equal(copy.flags, 'giu');
  assert.equal(copy.lastIndex, 0);
  assert.equal(copy.extra, undefined);
});

test('objects and arrays keep their own enumerable properties in order', () => {
  class Point {
    constructor() {
      this.x = 1;
      this.y = [2, , 4];
    }
    get z() {
      return 3;
    }
  }
  const point = new Point();
  Object.defineProperty(point, 'hidden', { value: 1, enumerable: false });
  point[Symbol('s')] = 1;
  const copy = structuredClone(point);
  assert.equal(Object.getPrototypeOf(copy), Object.prototype);
  assert.deepEqual(Object.keys(copy), ['x', 'y']);
  assert.equal(copy.hidden, undefined);
  assert.equal(copy.y.length, 3);
  assert.equal(1 in copy.y, false);
  const list = [1];
  list.named = { a: 1 };
  list.length = 4;
  const listCopy = structuredClone(list);
  assert.equal(listCopy.length, 4);
  assert.deepEqual(listCopy.named, { a: 1 });
  assert.deepEqual(structuredClone(JSON.parse('{"__proto__":{"a":1}}')), JSON.parse('{"__proto__":{"a":1}}'));
});

test('getters are called once, in order, and what they throw comes out', () => {
  const order = [];
  const source = {
    get a() {
      order.push('a');
      return { get inner() { order.push('inner'); return 1; } };
    },
    get b() {
      order.push('b');
      delete this.c;
      return 2;
    },
    c: 3,
  };
  assert.deepEqual(structuredClone(source), { a: { inner: 1 }, b: 2 });
  assert.deepEqual(order, ['a', 'inner', 'b']);
  const thrown = new Error('mine');
  assert.throws(() => structuredClone({ get x() { throw thrown; } }), thrown);
});

test('cycles and shared objects stay so', () => {
  const source = { list: [], map: new Map(), set: new Set() };
  source.self = source;
  source.list.push(source.list, source);
  source.map.set(source.map, source);
  source.set.add(source);
  const copy = structuredClone(source);
  assert.equal(copy.self, copy);
  assert.equal(copy.list[0], copy.list);
  assert.equal(copy.list[1], copy);
  assert.equal(copy.map.get(copy.map), copy);
  assert.equal(copy.set.has(copy), true);
});

test('maps and sets keep their order and lose their properties', () => {
  const map = new Map([['b', 1], [{ a: 1 }, [2]]]);
  map.extra = 1;
  const copy = structuredClone(map);
  assert.deepEqual([...copy], [['b', 1], [{ a: 1 }, [2]]]);
  assert.equal(copy.extra, undefined);
  assert.deepEqual([...structuredClone(new Set([3, 'x', 3]))], [3, 'x']);
});

test('very deep values are cloned', () => {
  let deep = {};
  for (let i = 0; i < 20000; i++) deep = { deep };
  let copy = structuredClone(deep);
  let depth = 0;
  while ((copy = copy.deep) !== undefined) depth++;
  assert.equal(depth, 20000);
}, { nodeDiffers: 'recurses, and runs out of stack' });

test('errors keep name, message and stack', () => {
  for (const Class of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
    const error = new Class('text', { cause: 1 });
    error.extra = 1;
    const copy = structuredClone(error);
    assert.equal(Object.getPrototypeOf(copy), Class.prototype);
    assert.equal(copy.message, 'text');
    assert.equal(copy.name, Class.name);
    assert.equal(copy.stack, error.stack);
    assert.equal(copy.extra, undefined);
  }
  const named = new Error('x');
  named.name = 'Mine';
  assert.equal(structuredClone(named).name, 'Error');
  assert.equal(Object.hasOwn(structuredClone(new Error()), 'message'), false);
  assert.equal(Object.getPrototypeOf(structuredClone(Object.assign(new Error('x'), { name: 'TypeError' }))), TypeError.prototype);
});

test('exceptions of the platform', () => {
  const copy = structuredClone(new DOMException('text', 'DataError'));
  assert(copy instanceof DOMException);
  assert.equal(copy.name, 'DataError');
  assert.equal(copy.message, 'text');
}, { nodeDiffers: 'Node.js 20 does not clone them' });

test('buffers and views are copied, and views of one buffer stay so', () => {
  const buffer = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer;
  const source = { whole: buffer, part: new Uint16Array(buffer, 2, 2), view: new DataView(buffer, 1, 3), big: new BigInt64Array(buffer) };
  const copy = structuredClone(source);
  assert(copy.whole !== buffer);
  assert.equal(copy.part.buffer, copy.whole);
  assert.equal(copy.view.buffer, copy.whole);
  assert.equal(copy.part.byteOffset, 2);
  assert.equal(copy.part.length, 2);
  assert.equal(copy.view.byteLength, 3);
  assert.equal(copy.big.constructor, BigInt64Array);
  copy.part[0] = 0;
  assert.equal(source.part[0], 0x0403);
  for (const Class of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint32Array, Float32Array, Float64Array, BigUint64Array]) {
    assert.equal(structuredClone(new Class(3)).constructor, Class);
  }
});

test('resizable buffers stay so', () => {
  const buffer = new ArrayBuffer(4, { maxByteLength: 8 });
  const copy = structuredClone({ buffer, view: new Uint8Array(buffer) });
  assert.equal(copy.buffer.maxByteLength, 8);
  copy.buffer.resize(6);
  assert.equal(copy.view.length, 6);
});

test('what is transferred moves', () => {
  const buffer = new Uint8Array([1, 2, 3]).buffer;
  const view = new Uint8Array(buffer, 1);
  const copy = structuredClone({ view, buffer }, { transfer: [buffer] });
  assert.equal(buffer.byteLength, 0);
  assert.equal(view.length, 0);
  assert.deepEqual(copy.view, new Uint8Array([2, 3]));
  assert.equal(copy.view.buffer, copy.buffer);
  refused(buffer);
  refused(view);
});

test('what cannot be transferred is refused, and nothing moves', () => {
  const buffer = new ArrayBuffer(4);
  refused(1, { transfer: [buffer, buffer] });
  refused(1, { transfer: [{}] });
  refused(() => {}, { transfer: [buffer] });
  assert.equal(buffer.byteLength, 4);
  assert.throws(() => structuredClone(1, { transfer: [1] }), TypeError);
  assert.throws(() => structuredClone(1, { transfer: 1 }), TypeError);
  assert.throws(() => structuredClone(1, 1), TypeError);
  structuredClone(1, { transfer: [buffer] });
  assert.equal(buffer.byteLength, 0);
  refused(1, { transfer: [buffer] });
}, { nodeDiffers: 'has a TypeError' });

test('blobs and files', async () => {
  const file = structuredClone(new File(['abc'], 'x.txt', { type: 'a/b', lastModified: 5 }));
  assert(file instanceof File);
  assert.equal(file.name, 'x.txt');
  assert.equal(file.lastModified, 5);
  assert.equal(await file.text(), 'abc');
  const blob = structuredClone(new Blob(['abc'], { type: 'a/b' }));
  assert.equal(blob instanceof File, false);
  assert.equal(blob.type, 'a/b');
}, { nodeDiffers: 'Node.js 20 clones no File' });

test('what the standard does not know is refused', () => {
  refused(Promise.resolve());
  refused(new WeakMap());
  refused(new WeakRef({}));
  refused((function* () {})());
  refused(new Headers());
  refused(new URL('http://h/'));
  refused(new Map([[1, () => {}]]));
}, { nodeDiffers: 'clones some of them as plain objects' });

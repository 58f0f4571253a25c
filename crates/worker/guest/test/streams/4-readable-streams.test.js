// Streams Standard, section 4: readable streams.

const collect = async (stream) => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
};

test('chunks are pulled as they are wanted', async () => {
  let pulls = 0;
  const stream = new ReadableStream({ pull: (controller) => controller.enqueue(++pulls) }, { highWaterMark: 0 });
  await Promise.resolve();
  assert.equal(pulls, 0);
  const reader = stream.getReader();
  assert.deepEqual(await reader.read(), { value: 1, done: false });
  assert.equal(pulls, 1);
  await reader.cancel('enough');
  assert.deepEqual(await reader.read(), { value: undefined, done: true });
});

test('locking', async () => {
  const stream = new ReadableStream();
  const reader = stream.getReader();
  assert.equal(stream.locked, true);
  assert.throws(() => stream.getReader(), TypeError);
  await assert.rejects(stream.cancel(), TypeError);
  const pending = reader.read();
  reader.releaseLock();
  await assert.rejects(pending, TypeError);
  assert.equal(stream.locked, false);
});

test('errors reach the reader, also those of start and pull', async () => {
  for (const source of [
    { start: (controller) => controller.error(7) },
    { start: () => Promise.reject(7) },
    {
      pull() {
        throw 7;
      },
    },
  ]) {
    const reader = new ReadableStream(source).getReader();
    await assert.rejects(reader.read(), 7);
    await assert.rejects(reader.closed, 7);
  }
});

test('iterators are made as those of generators are', () => {
  const iterator = new ReadableStream().values();
  const prototype = Object.getPrototypeOf(iterator);
  const inherited = Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}).prototype);
  assert.equal(Object.getPrototypeOf(prototype), inherited, 'they inherit what all asynchronous iterators do');
  assert.deepEqual(Object.getOwnPropertyNames(prototype).sort(), ['next', 'return']);
  assert.equal(iterator[Symbol.asyncIterator](), iterator);
});

test('from, asynchronous iteration and leaving it early', async () => {
  assert.deepEqual(await collect(ReadableStream.from(['a', 'b'])), ['a', 'b']);
  let cancelled;
  const stream = new ReadableStream({ pull: (controller) => controller.enqueue(1), cancel: (reason) => (cancelled = [reason]) });
  for await (const chunk of stream) {
    assert.equal(chunk, 1);
    break;
  }
  assert.deepEqual(cancelled, [undefined]);
  assert.equal(stream.locked, false);
  const kept = new ReadableStream({ pull: (controller) => controller.enqueue(1) });
  for await (const chunk of kept.values({ preventCancel: true })) {
    assert.equal(chunk, 1);
    break;
  }
  assert.deepEqual(await kept.getReader().read(), { value: 1, done: false });
});

test('tee', async () => {
  const [a, b] = ReadableStream.from([1, 2]).tee();
  assert.deepEqual(await collect(a), [1, 2]);
  assert.deepEqual(await collect(b), [1, 2]);
});

test('byte streams fill the buffer of the reader', async () => {
  const stream = new ReadableStream({
    type: 'bytes',
    pull(controller) {
      const { byobRequest } = controller;
      byobRequest.view[0] = 42;
      byobRequest.respond(1);
    },
  });
  const reader = stream.getReader({ mode: 'byob' });
  const buffer = new ArrayBuffer(4);
  const { value } = await reader.read(new Uint8Array(buffer, 1, 2));
  assert.deepEqual(value, new Uint8Array([42]));
  assert.equal(value.byteOffset, 1);
  assert.equal(buffer.byteLength, 0);
  await assert.rejects(reader.read(new Uint8Array(0)), TypeError);
});

test('a byte stream allocates where the reader gives no buffer, and tees', async () => {
  let n = 0;
  const make = () =>
    new ReadableStream({
      type: 'bytes',
      autoAllocateChunkSize: 16,
      pull(controller) {
        if (n++ === 2) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        controller.byobRequest.view[0] = n;
        controller.byobRequest.respond(1);
      },
    });
  assert.deepEqual((await collect(make())).map((chunk) => chunk[0]), [1, 2]);
  n = 0;
  const [a, b] = make().tee();
  const [x, y] = await Promise.all([collect(a), collect(b)]);
  assert.deepEqual(x.map((chunk) => chunk[0]), [1, 2]);
  assert.deepEqual(y.map((chunk) => chunk[0]), [1, 2]);
});

test('what is refused', () => {
  assert.throws(() => new ReadableStream(null), TypeError);
  assert.throws(() => new ReadableStream({ type: 'x' }), TypeError);
  assert.throws(() => new ReadableStream({ type: 'bytes' }, { size() {} }), RangeError);
  assert.throws(() => new ReadableStream({}, { highWaterMark: -1 }), RangeError);
  assert.throws(() => new ReadableStream().getReader({ mode: 'byob' }), TypeError);
  assert.throws(() => ReadableStream.from(1), TypeError);
});

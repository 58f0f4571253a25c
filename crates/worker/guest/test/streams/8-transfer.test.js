// Streams Standard, section 8: streams that are transferred.

async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** The other end may hear of it later. */
const later = () => new Promise((resolve) => { setTimeout(resolve, 50); });
const move = (stream) => structuredClone(stream, { transfer: [stream] });

test('a readable stream gives its chunks, cloned, in its new place', async () => {
  const chunk = { n: 1 };
  const stream = ReadableStream.from([chunk, 'two']);
  const moved = move(stream);
  assert(moved instanceof ReadableStream && moved !== stream);
  assert(stream.locked && !moved.locked);
  const chunks = await all(moved);
  assert.deepEqual(chunks, [{ n: 1 }, 'two']);
  assert(chunks[0] !== chunk);
});

test('cancelling what was moved cancels the source', async () => {
  let reason;
  const stream = new ReadableStream({ cancel: (why) => { reason = why; } });
  await move(stream).cancel('enough');
  await later();
  assert.equal(reason, 'enough');
});

test('an error of the source breaks off what was moved', async () => {
  const stream = new ReadableStream({ start: (controller) => controller.error(new RangeError('gone')) });
  const failure = await all(move(stream)).catch((error) => error);
  assert.equal(failure.name, 'RangeError');
});

test('a chunk that cannot be cloned breaks off both ends', async () => {
  let reason;
  const stream = new ReadableStream({ start: (controller) => controller.enqueue(() => {}), cancel: (why) => { reason = why; } });
  await assert.rejects(all(move(stream)), 'DataCloneError');
  await later();
  assert.equal(reason.name, 'DataCloneError');
});

test('a writable stream writes and closes in its new place', async () => {
  const got = [];
  const stream = new WritableStream({ write: (chunk) => void got.push(chunk), close: () => void got.push('closed') });
  const moved = move(stream);
  assert(stream.locked);
  const writer = moved.getWriter();
  await writer.write({ a: 1 });
  await writer.close();
  await later();
  assert.deepEqual(got, [{ a: 1 }, 'closed']);
});

test('a writable stream is aborted from its new place, and tells it of its errors', async () => {
  let reason;
  await move(new WritableStream({ abort: (why) => { reason = why; } })).abort('stop');
  await later();
  assert.equal(reason, 'stop');
  let controller;
  const moved = move(new WritableStream({ start: (c) => { controller = c; } }));
  controller.error(new RangeError('full'));
  const failure = await moved.getWriter().closed.catch((error) => error);
  assert.equal(failure.name, 'RangeError');
});

test('a transform stream moves with both of its sides', async () => {
  const stream = new TransformStream({ transform: (chunk, controller) => controller.enqueue(chunk * 2) });
  const moved = move(stream);
  assert(moved instanceof TransformStream);
  assert(stream.readable.locked && stream.writable.locked);
  assert.deepEqual(await all(ReadableStream.from([1, 2]).pipeThrough(moved)), [2, 4]);
});

test('a stream that is in use stays where it is', () => {
  const readable = new ReadableStream();
  readable.getReader();
  assert.throws(() => move(readable), 'DataCloneError');
  const writable = new WritableStream();
  writable.getWriter();
  assert.throws(() => move(writable), 'DataCloneError');
  const transform = new TransformStream();
  transform.writable.getWriter();
  assert.throws(() => move(transform), 'DataCloneError');
});

test('a stream is not copied', () => {
  assert.throws(() => structuredClone(new ReadableStream()), 'DataCloneError');
}, { nodeDiffers: 'throws a TypeError of its own' });

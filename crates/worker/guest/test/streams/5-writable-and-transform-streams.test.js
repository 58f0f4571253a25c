// Streams Standard, sections 5 to 7: writable streams, transform streams, queuing strategies; 4.9: piping.

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('writes come one after the other, close after them', async () => {
  const seen = [];
  const stream = new WritableStream({
    async write(chunk) {
      await later(1);
      seen.push(chunk);
    },
    close: () => seen.push('closed'),
  });
  const writer = stream.getWriter();
  writer.write('a');
  writer.write('b');
  assert.equal(writer.desiredSize, -1);
  await writer.close();
  assert.deepEqual(seen, ['a', 'b', 'closed']);
  await writer.closed;
});

test('an abort reaches the sink, and the signal of its controller', async () => {
  let controller;
  let reason;
  const stream = new WritableStream({
    start: (given) => (controller = given),
    abort: (given) => (reason = given),
  });
  assert.equal(controller.signal.aborted, false);
  await stream.abort('why');
  assert.equal(reason, 'why');
  assert.equal(controller.signal.aborted, true);
  assert.equal(controller.signal.reason, 'why');
  await assert.rejects(stream.getWriter().closed, undefined);
});

test('an error of the sink breaks the stream', async () => {
  const writer = new WritableStream({
    write() {
      throw 7;
    },
  }).getWriter();
  await assert.rejects(writer.write(1), 7);
  await assert.rejects(writer.closed, 7);
});

test('pipes: through transforms, with errors and aborts', async () => {
  const upper = new TransformStream({ transform: (chunk, controller) => controller.enqueue(chunk.toUpperCase()), flush: (controller) => controller.enqueue('END') });
  const chunks = [];
  await ReadableStream.from(['a', 'b']).pipeThrough(upper).pipeTo(new WritableStream({ write: (chunk) => void chunks.push(chunk) }));
  assert.deepEqual(chunks, ['A', 'B', 'END']);

  let aborted;
  const broken = new ReadableStream({ start: (controller) => controller.error(7) });
  await assert.rejects(broken.pipeTo(new WritableStream({ abort: (reason) => (aborted = reason) })), 7);
  assert.equal(aborted, 7);

  let cancelled;
  const endless = new ReadableStream({ cancel: (reason) => (cancelled = reason) });
  const controller = new AbortController();
  const piping = endless.pipeTo(new WritableStream(), { signal: controller.signal });
  controller.abort(8);
  await assert.rejects(piping, 8);
  assert.equal(cancelled, 8);
  await assert.rejects(new ReadableStream().pipeTo(), TypeError);
}, { nodeDiffers: 'breaks off the process with an internal assertion' });

test('a transform has backpressure', async () => {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  assert.equal(writer.desiredSize, 1);
  const write = writer.write('x');
  let done = false;
  write.then(() => (done = true));
  await later(2);
  assert.equal(done, false);
  assert.deepEqual(await readable.getReader().read(), { value: 'x', done: false });
  await write;
});

test('a transform can end itself', async () => {
  const { readable, writable } = new TransformStream({ transform: (_, controller) => controller.terminate() });
  const writer = writable.getWriter();
  writer.write(1).catch(() => {});
  assert.deepEqual(await readable.getReader().read(), { value: undefined, done: true });
  await assert.rejects(writer.closed, TypeError);
});

test('queuing strategies', () => {
  const count = new CountQueuingStrategy({ highWaterMark: 3 });
  assert.equal(count.highWaterMark, 3);
  assert.equal(count.size('anything'), 1);
  assert.equal(new ByteLengthQueuingStrategy({ highWaterMark: 1 }).size(new Uint8Array(5)), 5);
  assert.equal(new CountQueuingStrategy({ highWaterMark: 1 }).size, count.size);
  assert.throws(() => new CountQueuingStrategy({}), TypeError);
});

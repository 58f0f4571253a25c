// Fetch Standard, sections 5.2 and 5.3: what programs put on the language's prototypes has no effect on how bodies are made and read.

const nodeDiffers = 'reads options from the prototypes';

for (const name of ['start', 'type', 'size', 'highWaterMark', 'pull', 'cancel', 'autoAllocateChunkSize']) {
  test(`a getter ${name} on Object.prototype is not asked`, async () => {
    Object.defineProperty(Object.prototype, name, {
      get() {
        throw new Error(`${name} was read`);
      },
      configurable: true,
    });
    try {
      assert.equal(await new Response('text').text(), 'text');
      assert(new Response('text').body instanceof ReadableStream);
      const response = new Response('clone');
      const reader = response.clone().body.getReader();
      assert.equal((await reader.read()).value.length, 5);
      const fetched = await fetch(`${ORIGIN}/text`);
      assert.equal((await fetched.body.getReader().read()).value.length, 4);
      const request = new Request(new Request('http://x/', { __proto__: null, method: 'POST', body: 'x' }));
      assert(request.body instanceof ReadableStream);
      const again = new Request(request);
      assert.equal(await again.text(), 'x');
    } finally {
      delete Object.prototype[name];
    }
  }, { nodeDiffers });
}

test('a `then` on Object.prototype sees no chunk and changes none', async () => {
  const bytes = (text) => new TextEncoder().encode(text);
  const stream = () =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(bytes('hello'));
        controller.close();
      },
    });
  const responses = [new Response(stream()), new Response('hello'), await fetch(`${ORIGIN}/text?body=hello`)];
  for (const response of responses) {
    let seen = false;
    Object.prototype.then = function (resolve) {
      if (this !== null && typeof this === 'object' && 'done' in this) seen = true;
      delete Object.prototype.then;
      resolve({ done: false, value: bytes('bye') });
    };
    const text = response.text();
    delete Object.prototype.then;
    assert.equal(await text, 'hello');
    assert.equal(seen, false);
  }
}, { nodeDiffers });

test('many chunks that are there already do not nest', async () => {
  const count = 20000;
  const stream = new ReadableStream({
    start(controller) {
      for (let i = 0; i < count; i++) controller.enqueue(new Uint8Array(1));
      controller.close();
    },
  });
  assert.equal((await new Response(stream).arrayBuffer()).byteLength, count);
});

test('the body of an aborted stream rejects before the next microtask', async () => {
  const log = [];
  const response = new Response(new ReadableStream({ start: (controller) => controller.error(7) }));
  await Promise.all([response.text().catch((reason) => log.push(reason)), Promise.resolve().then(() => log.push('next'))]);
  assert.deepEqual(log, [7, 'next']);
}, { nodeDiffers: 'rejects later' });

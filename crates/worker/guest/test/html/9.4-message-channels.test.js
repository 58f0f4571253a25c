// HTML Standard, sections 9.1 and 9.4: messages and ports.

test('messages go over as copies, in order, each a task of its own', async () => {
  const { port1, port2 } = new MessageChannel();
  const seen = [];
  const value = { a: [1] };
  const got = new Promise((resolve) => {
    port2.onmessage = (event) => {
      seen.push(event.data);
      if (seen.length === 2) resolve(event);
    };
  });
  port1.postMessage(value);
  port1.postMessage('two');
  value.a[0] = 2;
  const event = await got;
  assert.deepEqual(seen, [{ a: [1] }, 'two']);
  assert(event instanceof MessageEvent);
  assert.equal(event.type, 'message');
  port1.close();
});

test('what cannot be cloned is refused; buffers are transferred', async () => {
  const { port1, port2 } = new MessageChannel();
  assert.throws(() => port1.postMessage(() => {}), 'DataCloneError');
  assert.throws(() => port1.postMessage(), TypeError);
  const buffer = new ArrayBuffer(8);
  const got = new Promise((resolve) => (port2.onmessage = (event) => resolve(event.data)));
  port1.postMessage(buffer, [buffer]);
  assert.equal(buffer.byteLength, 0);
  assert.equal((await got).byteLength, 8);
  port2.close();
});

test('MessageEvent', () => {
  const event = new MessageEvent('x', { data: 1, origin: 'o', lastEventId: 'i' });
  assert.deepEqual([event.data, event.origin, event.lastEventId, event.source], [1, 'o', 'i', null]);
  assert.equal(event.ports.length, 0);
  assert(Object.isFrozen(event.ports));
  assert.equal(new MessageEvent('x').data, null);
}, { nodeDiffers: 'its ports are not frozen' });

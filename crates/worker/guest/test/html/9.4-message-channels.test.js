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

/** What comes at a port next. */
const arrival = (port) => new Promise((resolve) => { port.onmessage = resolve; });

test('a transferred port takes the place of the other, with what had come', async () => {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage('before');
  const carrier = new MessageChannel();
  const arrives = arrival(carrier.port2);
  carrier.port1.postMessage({ port: port2 }, [port2]);
  port1.postMessage('on the way');
  const event = await arrives;
  assert.equal(event.ports.length, 1);
  assert.equal(event.ports[0], event.data.port, 'the same port');
  assert(event.data.port !== port2);
  const got = [];
  const all = new Promise((resolve) => {
    event.data.port.onmessage = ({ data }) => got.push(data) === 3 && resolve();
  });
  port1.postMessage('after');
  await all;
  assert.deepEqual(got, ['before', 'on the way', 'after']);
  const back = arrival(port1);
  event.data.port.postMessage('back');
  assert.equal((await back).data, 'back');
  // The old one is good for nothing.
  port2.postMessage('nowhere');
  assert.throws(() => structuredClone(port2, { transfer: [port2] }), 'DataCloneError');
  port1.close();
  carrier.port1.close();
});

test('a closed port stays where it is, its other end does not', () => {
  const { port1, port2 } = new MessageChannel();
  port1.close();
  assert.throws(() => structuredClone(port1, { transfer: [port1] }), 'DataCloneError');
  assert(structuredClone(port2, { transfer: [port2] }) instanceof MessagePort);
});

test('a port does not go through itself, and reaches nobody where it takes its other end along', async () => {
  const { port1, port2 } = new MessageChannel();
  assert.throws(() => port1.postMessage(1, [port1]), 'DataCloneError');
  port1.postMessage(1, [port2]);
  assert.throws(() => structuredClone(port2), 'DataCloneError', 'a port is not copied');
  port1.close();
});

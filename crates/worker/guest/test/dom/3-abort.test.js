// DOM Standard, section 3: aborting.

test('abort sets the reason once and fires once', () => {
  const controller = new AbortController();
  let events = 0;
  controller.signal.onabort = (event) => {
    events++;
    assert.equal(event.isTrusted, true);
    assert.equal(event.target, controller.signal);
  };
  controller.signal.addEventListener('abort', () => events++);
  assert.equal(controller.signal.aborted, false);
  controller.abort();
  controller.abort('other');
  assert.equal(events, 2);
  assert.equal(controller.signal.aborted, true);
  assert.equal(controller.signal.reason.name, 'AbortError');
  assert.throws(() => controller.signal.throwIfAborted(), 'AbortError');
});

test('a reason of any kind', () => {
  assert.equal(AbortSignal.abort('why').reason, 'why');
  assert.equal(AbortSignal.abort(null).reason, null);
  const controller = new AbortController();
  controller.abort(7);
  assert.throws(() => controller.signal.throwIfAborted(), 7);
});

test('AbortSignal has no constructor that programs may call', () => {
  assert.throws(() => new AbortSignal(), TypeError);
});

test('timeout', async () => {
  const signal = AbortSignal.timeout(5);
  assert.equal(signal.aborted, false);
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
  assert.equal(signal.reason.name, 'TimeoutError');
  assert.throws(() => AbortSignal.timeout(-1), undefined);
});

test('any follows its sources, also through others', () => {
  const a = new AbortController();
  const b = new AbortController();
  const first = AbortSignal.any([a.signal, b.signal]);
  const second = AbortSignal.any([first]);
  const order = [];
  second.addEventListener('abort', () => order.push('second'));
  first.addEventListener('abort', () => order.push('first'));
  b.signal.addEventListener('abort', () => {
    order.push('source');
    assert.equal(second.aborted, true, 'dependents are aborted before any event');
  });
  b.abort('why');
  assert.deepEqual(order, ['source', 'first', 'second']);
  assert.equal(first.reason, 'why');
  assert.equal(second.reason, 'why');
  assert.equal(AbortSignal.any([]).aborted, false);
  assert.equal(AbortSignal.any([AbortSignal.abort(1), AbortSignal.abort(2)]).reason, 1);
  assert.throws(() => AbortSignal.any([{}]), TypeError);
}, { nodeDiffers: 'aborts dependents one after the other' });

test('a combined signal that only a listener knows fires all the same', async () => {
  const controller = new AbortController();
  let fired = 0;
  AbortSignal.any([controller.signal]).addEventListener('abort', () => fired++);
  for (let i = 0; i < 100; i++) AbortSignal.any([controller.signal]);
  AbortSignal.any([controller.signal]).onabort = () => fired++;
  await new Promise((resolve) => setTimeout(resolve, 1));
  controller.abort();
  assert.equal(fired, 2);
});

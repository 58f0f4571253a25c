// DOM Standard, section 2: events.

test('an event has what its constructor was given', () => {
  const event = new Event('foo', { bubbles: true, cancelable: true, composed: true });
  assert.equal(event.type, 'foo');
  assert.equal(event.bubbles, true);
  assert.equal(event.cancelable, true);
  assert.equal(event.composed, true);
  assert.equal(event.isTrusted, false);
  assert.equal(event.eventPhase, 0);
  assert.equal(event.target, null);
  assert.equal(event.currentTarget, null);
  assert.equal(typeof event.timeStamp, 'number');
  assert.throws(() => new Event(), TypeError);
  assert.throws(() => Event('x'), TypeError);
});

test('isTrusted is an own accessor of each event, the same one', () => {
  const a = Object.getOwnPropertyDescriptor(new Event('a'), 'isTrusted');
  const b = Object.getOwnPropertyDescriptor(new Event('b'), 'isTrusted');
  assert.equal(a.get, b.get);
  assert.equal(a.configurable, false);
  assert.equal(a.set, undefined);
}, { nodeDiffers: 'has it on the prototype' });

test('constants stand on interface and prototype', () => {
  for (const object of [Event, Event.prototype, new Event('x')]) {
    assert.equal(object.NONE, 0);
    assert.equal(object.CAPTURING_PHASE, 1);
    assert.equal(object.AT_TARGET, 2);
    assert.equal(object.BUBBLING_PHASE, 3);
  }
}, { nodeDiffers: 'has them on the interface only' });

test('listeners are called once each, capturing ones first, in order', () => {
  const target = new EventTarget();
  const calls = [];
  const twice = () => calls.push('twice');
  target.addEventListener('x', () => calls.push('bubble'));
  target.addEventListener('x', () => calls.push('capture'), true);
  target.addEventListener('x', twice);
  target.addEventListener('x', twice);
  target.addEventListener('x', { handleEvent: () => calls.push('object') });
  target.addEventListener('x', null);
  target.dispatchEvent(new Event('x'));
  assert.deepEqual(calls, ['capture', 'bubble', 'twice', 'object']);
}, { nodeDiffers: 'calls capturing listeners in the order of adding' });

test('this, target and phase are right while a listener runs', () => {
  const target = new EventTarget();
  let seen;
  target.addEventListener('x', function (event) {
    seen = [this === target, event.target === target, event.currentTarget === target, event.eventPhase, event.composedPath().length];
  });
  const event = new Event('x');
  target.dispatchEvent(event);
  assert.deepEqual(seen, [true, true, true, 2, 1]);
  assert.equal(event.target, target);
  assert.equal(event.currentTarget, null);
  assert.equal(event.eventPhase, 0);
  assert.deepEqual(event.composedPath(), []);
});

test('once, removal during a dispatch, and signals', () => {
  const target = new EventTarget();
  const calls = [];
  const removed = () => calls.push('removed');
  const controller = new AbortController();
  target.addEventListener('x', () => calls.push('once'), { once: true });
  target.addEventListener('x', () => target.removeEventListener('x', removed));
  target.addEventListener('x', removed);
  target.addEventListener('x', () => calls.push('signal'), { signal: controller.signal });
  target.dispatchEvent(new Event('x'));
  controller.abort();
  target.dispatchEvent(new Event('x'));
  assert.deepEqual(calls, ['once', 'signal']);
  target.addEventListener('y', () => calls.push('never'), { signal: AbortSignal.abort() });
  target.dispatchEvent(new Event('y'));
  assert.equal(calls.length, 2);
});

test('a listener that is added while the event is dispatched is not called', () => {
  const target = new EventTarget();
  let called = false;
  target.addEventListener('x', () => target.addEventListener('x', () => (called = true)));
  target.dispatchEvent(new Event('x'));
  assert.equal(called, false);
});

test('preventDefault, returnValue and passive listeners', () => {
  const target = new EventTarget();
  target.addEventListener('x', (event) => event.preventDefault());
  assert.equal(target.dispatchEvent(new Event('x')), true);
  const event = new Event('x', { cancelable: true });
  assert.equal(target.dispatchEvent(event), false);
  assert.equal(event.defaultPrevented, true);
  assert.equal(event.returnValue, false);
  const passive = new EventTarget();
  passive.addEventListener('x', (event) => event.preventDefault(), { passive: true });
  assert.equal(passive.dispatchEvent(new Event('x', { cancelable: true })), true);
}, { nodeDiffers: 'lets passive listeners cancel' });

test('stopImmediatePropagation ends the dispatch; a dispatched event can be used again', () => {
  const target = new EventTarget();
  let calls = 0;
  target.addEventListener('x', (event) => {
    calls++;
    event.stopImmediatePropagation();
  });
  target.addEventListener('x', () => calls++);
  const event = new Event('x');
  target.dispatchEvent(event);
  target.dispatchEvent(event);
  assert.equal(calls, 2);
  assert.equal(event.cancelBubble, false);
}, { nodeDiffers: 'keeps the flag after the dispatch' });

test('an event cannot be dispatched while it is dispatched', () => {
  const target = new EventTarget();
  let error;
  target.addEventListener('x', (event) => {
    try {
      target.dispatchEvent(event);
    } catch (thrown) {
      error = thrown;
    }
  });
  target.dispatchEvent(new Event('x'));
  assert.equal(error.name, 'InvalidStateError');
  assert.throws(() => target.dispatchEvent({}), TypeError);
  assert.throws(() => target.dispatchEvent(null), TypeError);
}, { nodeDiffers: 'its error is no DOMException' });

test('initEvent', () => {
  const event = new Event('a');
  event.initEvent('b', true, true);
  assert.equal(event.type, 'b');
  assert.equal(event.bubbles, true);
  assert.equal(event.cancelable, true);
}, { nodeDiffers: 'has no initEvent' });

test('CustomEvent', () => {
  const event = new CustomEvent('x', { detail: { a: 1 } });
  assert.deepEqual(event.detail, { a: 1 });
  assert.equal(new CustomEvent('x').detail, null);
  assert.equal(Object.prototype.toString.call(event), '[object CustomEvent]');
});

test('an exception in a listener goes to the error event of the global object, and the dispatch goes on', () => {
  const target = new EventTarget();
  let seen;
  let next = false;
  const thrown = new Error('in a listener');
  const onerror = (event) => {
    event.preventDefault();
    seen = event;
  };
  self.addEventListener('error', onerror);
  target.addEventListener('x', () => {
    throw thrown;
  });
  target.addEventListener('x', () => (next = true));
  target.dispatchEvent(new Event('x'));
  self.removeEventListener('error', onerror);
  assert.equal(next, true);
  assert.equal(seen.error, thrown);
  assert(seen instanceof ErrorEvent);
  assert(seen.lineno > 0);
}, { nodeDiffers: 'the global object is no EventTarget' });

test('foreign objects are refused', () => {
  const type = Object.getOwnPropertyDescriptor(Event.prototype, 'type').get;
  assert.throws(() => type.call({}), TypeError);
  assert.throws(() => EventTarget.prototype.addEventListener.call({}, 'x', () => {}), TypeError);
});

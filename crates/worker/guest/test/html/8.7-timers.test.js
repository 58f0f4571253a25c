// HTML Standard, section 8.7: timers; 8.1.4: errors and rejections; 8.1.7: microtasks.

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('timers come in order of their times, and of their setting', async () => {
  const order = [];
  setTimeout(() => order.push('20'), 20);
  setTimeout(() => order.push('1a'), 1);
  setTimeout(() => order.push('1b'), 1);
  await wait(40);
  assert.deepEqual(order, ['1a', '1b', '20']);
});

test('parameters are passed on, and a cleared timer is silent', async () => {
  let got;
  let wrong = false;
  setTimeout((...args) => (got = args), 1, 'a', 'b');
  const id = setTimeout(() => (wrong = true), 1);
  clearTimeout(id);
  clearTimeout(undefined);
  clearTimeout(123456);
  await wait(10);
  assert.deepEqual(got, ['a', 'b']);
  assert.equal(wrong, false);
});

test('an interval repeats until it is cleared, also by itself', async () => {
  let count = 0;
  await new Promise((resolve) => {
    const id = setInterval(() => {
      if (++count === 3) {
        clearInterval(id);
        resolve();
      }
    }, 1);
  });
  await wait(10);
  assert.equal(count, 3);
});

test('microtasks come before the next timer', async () => {
  const order = [];
  setTimeout(() => {
    order.push('timer');
    queueMicrotask(() => order.push('microtask'));
    Promise.resolve().then(() => order.push('promise'));
  }, 1);
  setTimeout(() => order.push('second'), 1);
  await wait(20);
  assert.deepEqual(order, ['timer', 'microtask', 'promise', 'second']);
});

test('ids are positive integers; a handler is required', () => {
  const id = setTimeout(() => {}, 0);
  assert.equal(typeof id, 'number');
  assert(id > 0);
  clearTimeout(id);
  assert.throws(() => setTimeout(), TypeError);
}, { nodeDiffers: 'its ids are objects' });

test('text is evaluated', async () => {
  setTimeout('globalThis.evaluated = 1', 0);
  await wait(5);
  assert.equal(globalThis.evaluated, 1);
  delete globalThis.evaluated;
}, { nodeDiffers: 'refuses text' });

test('reportError makes an error event, which onerror can cancel', () => {
  let args;
  self.onerror = (...all) => {
    args = all;
    return true;
  };
  const error = new TypeError('reported');
  reportError(error);
  self.onerror = null;
  assert.equal(args.length, 5);
  assert.equal(args[4], error);
  assert(args[0].includes('reported'));
}, { nodeDiffers: 'has no reportError' });

test('a rejection without a handler makes an event, and a late handler another', async () => {
  const seen = [];
  self.onunhandledrejection = (event) => {
    event.preventDefault();
    seen.push(event.type, event.reason, event.promise);
  };
  self.addEventListener('rejectionhandled', (event) => seen.push(event.type), { once: true });
  const promise = Promise.reject('why');
  Promise.reject('handled').catch(() => {});
  await wait(1);
  promise.catch(() => {});
  await wait(1);
  self.onunhandledrejection = null;
  assert.deepEqual(seen.slice(0, 2), ['unhandledrejection', 'why']);
  assert.equal(seen[2], promise);
  assert.equal(seen[3], 'rejectionhandled');
  assert.equal(seen.length, 4);
}, { nodeDiffers: 'has no such events' });

test('self, navigator and performance', () => {
  assert.equal(self, globalThis);
  assert.equal(navigator.userAgent, 'JSFS');
  const a = performance.now();
  assert(performance.now() >= a);
  assert(Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 2000);
  assert.equal(Object.prototype.toString.call(performance), '[object Performance]');
}, { nodeDiffers: 'has no self' });

// Fetch Standard, section 5.4: the Request class.

test('what a request has when nothing was given', () => {
  const request = new Request('http://example.org/a?b#c');
  assert.equal(request.url, 'http://example.org/a?b#c');
  assert.equal(request.method, 'GET');
  assert.equal(request.mode, 'cors');
  assert.equal(request.credentials, 'same-origin');
  assert.equal(request.cache, 'default');
  assert.equal(request.redirect, 'follow');
  assert.equal(request.referrer, 'about:client');
  assert.equal(request.referrerPolicy, '');
  assert.equal(request.integrity, '');
  assert.equal(request.keepalive, false);
  assert.equal(request.destination, '');
  assert.equal(request.duplex, 'half');
  assert.equal(request.body, null);
  assert.equal(request.bodyUsed, false);
  assert.equal(request.isReloadNavigation, false);
  assert(request.signal instanceof AbortSignal);
  assert.equal(request.signal, request.signal);
  assert.equal(Request.length, 1);
});

test('methods are normalised or refused', () => {
  const method = (method) => new Request('http://x/', { method }).method;
  assert.equal(method('get'), 'GET');
  assert.equal(method('pOsT'), 'POST');
  assert.equal(method('patch'), 'patch');
  assert.equal(method('CHICKEN'), 'CHICKEN');
  for (const bad of ['CONNECT', 'trace', 'TRACK', 'a b', '']) assert.throws(() => method(bad), TypeError, bad);
});

test('a request of a request', async () => {
  const first = new Request('http://x/', { method: 'POST', body: 'body', headers: { a: '1' } });
  const second = new Request(first, { headers: { b: '2' } });
  assert.equal(first.bodyUsed, true);
  assert.equal(second.method, 'POST');
  assert.equal(second.headers.get('a'), null);
  assert.equal(second.headers.get('b'), '2');
  assert.equal(await second.text(), 'body');
  assert.throws(() => new Request(first), TypeError);
  const third = new Request(new Request('http://x/', { method: 'POST', body: 'old' }), { body: 'new' });
  assert.equal(await third.text(), 'new');
});

test('what is refused', () => {
  assert.throws(() => new Request(), TypeError);
  assert.throws(() => new Request('http://['), TypeError);
  assert.throws(() => new Request('http://user:password@x/'), TypeError);
  assert.throws(() => new Request('http://x/', { body: 'x' }), TypeError);
  assert.throws(() => new Request('http://x/', { method: 'HEAD', body: 'x' }), TypeError);
  assert.throws(() => new Request('http://x/', { mode: 'navigate' }), TypeError);
  assert.throws(() => new Request('http://x/', { mode: 'nonsense' }), TypeError);
  assert.throws(() => new Request('http://x/', { cache: 'only-if-cached' }), TypeError);
  assert.throws(() => new Request('http://x/', { window: 'x' }), TypeError);
  assert.throws(() => new Request('http://x/', { signal: {} }), TypeError);
  assert.throws(() => new Request('http://x/', { method: 'POST', body: new ReadableStream() }), TypeError);
  assert.throws(() => new Request('http://x/', { redirect: 'x' }), TypeError);
  assert.throws(() => Request('http://x/'), TypeError);
});

test('relative to the program', () => {
  assert.equal(new Request('/a').url, `${ORIGIN}/a`);
  assert.equal(new Request('b?c').url, `${ORIGIN}/b?c`);
}, { nodeDiffers: 'has no base' });

test('the signal follows the given one', () => {
  const controller = new AbortController();
  const request = new Request('http://x/', { signal: controller.signal });
  const clone = request.clone();
  const copy = new Request(request);
  assert(request.signal !== controller.signal);
  controller.abort('why');
  assert.equal(request.signal.reason, 'why');
  assert.equal(clone.signal.aborted, true);
  assert.equal(copy.signal.aborted, true);
  assert.equal(new Request(request, { signal: null }).signal.aborted, false);
});

test('no-cors lets only safe headers pass', () => {
  const request = new Request('http://x/', { mode: 'no-cors', headers: { accept: 'a/b', 'x-own': '1', 'content-type': 'text/plain' } });
  assert.equal(request.headers.get('accept'), 'a/b');
  assert.equal(request.headers.get('x-own'), null);
  assert.equal(request.headers.get('content-type'), 'text/plain');
  assert.throws(() => new Request('http://x/', { mode: 'no-cors', method: 'PUT' }), TypeError);
}, { nodeDiffers: 'lets all headers pass' });

test('clone', async () => {
  const request = new Request('http://x/', { method: 'PUT', body: 'b', headers: { a: '1' }, redirect: 'manual' });
  const clone = request.clone();
  assert.equal(clone.redirect, 'manual');
  assert.equal(clone.headers.get('a'), '1');
  assert.equal(await clone.text(), 'b');
  assert.equal(await request.text(), 'b');
  assert.throws(() => request.clone(), TypeError);
});

// Fetch Standard, section 5.5: the Response class.

test('what a response has when nothing was given', () => {
  const response = new Response();
  assert.equal(response.status, 200);
  assert.equal(response.statusText, '');
  assert.equal(response.ok, true);
  assert.equal(response.type, 'default');
  assert.equal(response.url, '');
  assert.equal(response.redirected, false);
  assert.equal(response.body, null);
  assert.deepEqual([...response.headers], []);
  assert.equal(Response.length, 0);
});

test('status and status text are checked', () => {
  assert.equal(new Response(null, { status: 404, statusText: 'Nope' }).ok, false);
  for (const status of [0, 100, 199, 600, 1000]) assert.throws(() => new Response(null, { status }), RangeError);
  assert.equal(new Response(null, { status: 65736 }).status, 200);
  for (const statusText of ['\n', 'Ā', '\x00']) assert.throws(() => new Response(null, { statusText }), TypeError);
  for (const status of [204, 205, 304]) {
    assert.throws(() => new Response('body', { status }), TypeError);
    assert.throws(() => new Response('', { status }), TypeError);
    assert.equal(new Response(null, { status }).status, status);
  }
}, { nodeDiffers: 'does not wrap numbers around' });

test('error', () => {
  const response = Response.error();
  assert.equal(response.type, 'error');
  assert.equal(response.status, 0);
  assert.equal(response.ok, false);
  assert.throws(() => response.headers.append('a', 'b'), TypeError);
});

test('redirect', () => {
  const response = Response.redirect('http://example.org/ä');
  assert.equal(response.status, 302);
  assert.equal(response.headers.get('location'), 'http://example.org/%C3%A4');
  assert.throws(() => response.headers.set('a', 'b'), TypeError);
  assert.equal(Response.redirect('http://x/', 308).status, 308);
  assert.throws(() => Response.redirect('http://['), TypeError);
  assert.throws(() => Response.redirect('http://x/', 200), RangeError);
});

test('json', async () => {
  const response = Response.json({ a: 1 }, { status: 201, headers: { b: '2' } });
  assert.equal(response.status, 201);
  assert.equal(response.headers.get('content-type'), 'application/json');
  assert.equal(response.headers.get('b'), '2');
  assert.equal(await response.text(), '{"a":1}');
  assert.equal(Response.json(1, { headers: { 'content-type': 'x/y' } }).headers.get('content-type'), 'x/y');
  assert.throws(() => Response.json(undefined), TypeError);
  assert.throws(() => Response.json(Symbol('x')), TypeError);
  assert.throws(() => Response.json(1, { status: 204 }), TypeError);
});

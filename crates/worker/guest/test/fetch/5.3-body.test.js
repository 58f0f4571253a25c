// Fetch Standard, sections 5.2 and 5.3: bodies.

const text = (bytes) => new TextDecoder().decode(bytes);

test('what a body may be made of, and the type that it brings', async () => {
  const form = new FormData();
  form.append('a', 'b');
  const cases = [
    ['text', 'text', 'text/plain;charset=UTF-8'],
    [new Uint8Array([104, 105]), 'hi', null],
    [new Uint8Array([104, 105]).buffer, 'hi', null],
    [new DataView(new Uint8Array([120, 104, 105]).buffer, 1), 'hi', null],
    [new URLSearchParams('a=b c'), 'a=b+c', 'application/x-www-form-urlencoded;charset=UTF-8'],
    [new Blob(['blob'], { type: 'x/y' }), 'blob', 'x/y'],
    [new Blob(['blob']), 'blob', null],
    [123, '123', 'text/plain;charset=UTF-8'],
    [{ toString: () => 'object' }, 'object', 'text/plain;charset=UTF-8'],
  ];
  for (const [init, expected, type] of cases) {
    assert.equal(new Response(init).headers.get('content-type'), type);
    assert.equal(await new Response(init).text(), expected);
    assert.equal(text(await new Request('http://x/', { method: 'POST', body: init }).arrayBuffer()), expected);
  }
  const response = new Response(form);
  assert(/^multipart\/form-data; ?boundary=/.test(response.headers.get('content-type')));
  assert.equal((await response.formData()).get('a'), 'b');
});

test('a given Content-Type stays', () => {
  assert.equal(new Response('x', { headers: { 'content-type': 'a/b' } }).headers.get('content-type'), 'a/b');
});

test('a body can be taken once', async () => {
  for (const method of ['text', 'json', 'arrayBuffer', 'blob', 'formData']) {
    const response = new Response('1');
    assert.equal(response.bodyUsed, false);
    const first = response[method]().catch(() => {});
    assert.equal(response.bodyUsed, true);
    await assert.rejects(response.text(), TypeError, method);
    await first;
    assert.throws(() => response.clone(), TypeError);
    assert.throws(() => response.body.getReader(), TypeError);
  }
  const empty = new Response();
  assert.equal(await empty.text(), '');
  assert.equal(empty.bodyUsed, false);
  assert.equal(empty.body, null);
});

test('bytes and blobs', async () => {
  assert.deepEqual(await new Response('hé').bytes(), new Uint8Array([104, 195, 169]));
}, { nodeDiffers: 'has no bytes()' });

test('blob has the type of the headers', async () => {
  const blob = await new Response('x', { headers: { 'content-type': 'Text/HTML; Charset=utf-8' } }).blob();
  assert.equal(blob.type, 'text/html;charset=utf-8');
  assert.equal(await blob.text(), 'x');
});

test('text drops a byte order mark and replaces what is malformed', async () => {
  assert.equal(await new Response(new Uint8Array([0xef, 0xbb, 0xbf, 65, 0xff])).text(), 'A\ufffd');
  assert.equal(await new Response('\ufeffA').text(), 'A');
  assert.equal(await new Response('\ud800').text(), '\ufffd');
});

test('json', async () => {
  assert.deepEqual(await new Response('{"a":[1,null]}').json(), { a: [1, null] });
  await assert.rejects(new Response('{').json(), SyntaxError);
  await assert.rejects(new Response('').json(), SyntaxError);
});

test('the stream of a body', async () => {
  const response = new Response('stream');
  assert(response.body instanceof ReadableStream);
  assert.equal(response.body, response.body);
  const reader = response.body.getReader({ mode: 'byob' });
  const { value } = await reader.read(new Uint8Array(3));
  assert.equal(text(value), 'str');
  assert.equal(response.bodyUsed, true);
  reader.releaseLock();
  await assert.rejects(response.text(), TypeError);
});

test('a stream as a body', async () => {
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('a'));
      controller.enqueue(new TextEncoder().encode('b'));
      controller.close();
    },
  });
  const response = new Response(stream);
  assert.equal(response.body, stream);
  assert.equal(await response.text(), 'ab');
  assert.equal(response.bodyUsed, true);
  assert.throws(() => new Response(stream), TypeError);
  const wrong = new ReadableStream({ start: (controller) => controller.enqueue('text') });
  await assert.rejects(new Response(wrong).text(), TypeError);
  const broken = new ReadableStream({ start: (controller) => controller.error(new RangeError('x')) });
  await assert.rejects(new Response(broken).text(), RangeError);
  const locked = new ReadableStream();
  locked.getReader();
  assert.throws(() => new Response(locked), TypeError);
});

test('a clone has the same content, independent of the original', async () => {
  const response = new Response('content', { status: 201, headers: { a: 'b' } });
  const clone = response.clone();
  assert.equal(clone.status, 201);
  assert.equal(clone.headers.get('a'), 'b');
  clone.headers.set('a', 'c');
  assert.equal(response.headers.get('a'), 'b');
  assert.equal(await response.text(), 'content');
  assert.equal(await clone.text(), 'content');
  const streamed = new Response(new Response('s').body);
  const other = streamed.clone();
  assert.equal(await streamed.text(), 's');
  assert.equal(await other.text(), 's');
});

test('methods called on something else reject', async () => {
  await assert.rejects(Response.prototype.text.call({}), TypeError);
  await assert.rejects(Request.prototype.json.call(new Response('1')), TypeError);
});

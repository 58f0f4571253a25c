// Fetch Standard, sections 4 and 5.6: fetching.

test('an answer and its head', async () => {
  const response = await fetch(`${ORIGIN}/text?body=hello#part`);
  assert.equal(response.status, 200);
  assert.equal(response.ok, true);
  assert.equal(response.url, `${ORIGIN}/text?body=hello`);
  assert.equal(response.redirected, false);
  assert.equal(response.type, 'basic');
  assert.equal(response.headers.get('content-type'), 'text/plain;charset=utf-8');
  assert.throws(() => response.headers.set('a', 'b'), TypeError);
  assert.equal(await response.text(), 'hello');
});

test('relative to the program', async () => {
  assert.equal(await (await fetch('/text?body=relative')).text(), 'relative');
}, { nodeDiffers: 'has no base' });

test('method, headers and body go over', async () => {
  const response = await fetch(`${ORIGIN}/echo`, { method: 'post', headers: { 'X-A': 'b' }, body: 'héllo' });
  const seen = await response.json();
  assert.equal(seen.method, 'POST');
  assert.equal(seen.headers['x-a'], 'b');
  assert.equal(seen.headers['content-type'], 'text/plain;charset=UTF-8');
  assert.equal(seen.headers.accept, '*/*');
  assert.equal(seen.body, 'héllo');
});

test('bodies of other kinds, and a streamed one', async () => {
  const form = new FormData();
  form.append('name', 'value');
  form.append('file', new Blob(['content'], { type: 'a/b' }), 'f.txt');
  const seen = await (await fetch(`${ORIGIN}/echo`, { method: 'POST', body: form })).json();
  assert(seen.body.includes('filename="f.txt"'));
  assert(seen.body.includes('content'));
  let count = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (count++ < 3) controller.enqueue(new TextEncoder().encode(`${count}`));
      else controller.close();
    },
  });
  const request = new Request(`${ORIGIN}/echo`, { method: 'POST', body, duplex: 'half' });
  assert.equal((await (await fetch(request)).json()).body, '123');
  assert.equal(request.bodyUsed, true);
});

test('an answer comes in pieces', async () => {
  const response = await fetch(`${ORIGIN}/stream/3`);
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    assert(chunk instanceof Uint8Array);
    text += decoder.decode(chunk, { stream: true });
  }
  assert.equal(text, 'piece,piece,piece,');
});

test('statuses without a body', async () => {
  for (const status of [204, 304]) {
    const response = await fetch(`${ORIGIN}/status/${status}`);
    assert.equal(response.status, status);
    assert.equal(response.body, null);
    assert.equal(await response.text(), '');
  }
  const head = await fetch(`${ORIGIN}/text`, { method: 'HEAD' });
  assert.equal(await head.text(), '');
});

test('a status of 404 is an answer', async () => {
  const response = await fetch(`${ORIGIN}/nothing`);
  assert.equal(response.status, 404);
  assert.equal(response.ok, false);
});

test('cookies and repeated headers', async () => {
  const { headers } = await fetch(`${ORIGIN}/headers`);
  assert.deepEqual(headers.getSetCookie(), ['a=1', 'b=2']);
  assert.equal(headers.get('x-two'), '1, 2');
});

test('redirects are followed, refused or shown', async () => {
  const followed = await fetch(`${ORIGIN}/redirect/302?to=/text`);
  assert.equal(followed.redirected, true);
  assert.equal(followed.url, `${ORIGIN}/text`);
  await assert.rejects(fetch(`${ORIGIN}/redirect/302`, { redirect: 'error' }), TypeError);
  const manual = await fetch(`${ORIGIN}/redirect/307?to=/x`, { redirect: 'manual' });
  assert.equal(manual.status, 307);
  assert.equal(manual.headers.get('location'), '/x');
});

test('abort before, while waiting, and in the body', async () => {
  await assert.rejects(fetch(`${ORIGIN}/text`, { signal: AbortSignal.abort(1) }), 1);
  const waiting = new AbortController();
  const promise = fetch(`${ORIGIN}/slow/1000`, { signal: waiting.signal });
  setTimeout(() => waiting.abort(), 10);
  await assert.rejects(promise, 'AbortError');
  const reading = new AbortController();
  const response = await fetch(`${ORIGIN}/stream/0`, { signal: reading.signal });
  const reader = response.body.getReader();
  await reader.read();
  reading.abort();
  await assert.rejects(
    (async () => {
      for (;;) if ((await reader.read()).done) return;
    })(),
    'AbortError',
  );
  const taking = new AbortController();
  const text = (await fetch(`${ORIGIN}/stream/0`, { signal: taking.signal })).text();
  setTimeout(() => taking.abort(2), 10);
  await assert.rejects(text, 2);
});

test('a stream can be left early', async () => {
  const response = await fetch(`${ORIGIN}/stream/0`);
  for await (const chunk of response.body) {
    assert(chunk.length > 0);
    break;
  }
  assert.equal(response.bodyUsed, true);
});

test('network errors are TypeErrors', async () => {
  await assert.rejects(fetch('http://127.0.0.1:1/'), TypeError);
  await assert.rejects(fetch('ftp://x/'), TypeError);
  await assert.rejects(fetch('about:blank'), TypeError);
  await assert.rejects(fetch(), TypeError);
  const broken = await fetch(`${ORIGIN}/break`);
  await assert.rejects(broken.text(), TypeError);
});

test('data: URLs', async () => {
  const cases = [
    ['data:,Hello%2C%20World!', 'Hello, World!', 'text/plain;charset=US-ASCII'],
    ['data:text/html;charset=utf-8,<p>', '<p>', 'text/html;charset=utf-8'],
    ['data:text/plain;base64,SGVsbG8=', 'Hello', 'text/plain'],
    ['data:;base64,SGVs bG8', 'Hello', 'text/plain;charset=US-ASCII'],
    ['data:;x=y,a#b', 'a', 'text/plain;x=y'],
  ];
  for (const [url, body, type] of cases) {
    const response = await fetch(url);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), type, url);
    assert.equal(await response.text(), body, url);
  }
  await assert.rejects(fetch('data:text/plain'), TypeError);
  await assert.rejects(fetch('data:;base64,a'), TypeError);
});

test('blob: URLs', async () => {
  const url = URL.createObjectURL(new Blob(['blob'], { type: 'a/b' }));
  const response = await fetch(url);
  assert.equal(response.headers.get('content-type'), 'a/b');
  assert.equal(await response.text(), 'blob');
  URL.revokeObjectURL(url);
  await assert.rejects(fetch(url), TypeError);
});

test('a clone of an answer', async () => {
  const response = await fetch(`${ORIGIN}/stream/2`);
  const clone = response.clone();
  assert.equal(await response.text(), 'piece,piece,');
  assert.equal(await clone.text(), 'piece,piece,');
});

test('integrity', async () => {
  const digest = 'mC2eg6aIKYs5ASFL0lSRwnpEqtiM/dSj4h+EPoZ8vAQ=';
  const url = `${ORIGIN}/text?body=text`;
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode('text'));
  const right = `sha256-${btoa(String.fromCharCode(...new Uint8Array(bytes)))}`;
  assert.equal(await (await fetch(url, { integrity: right })).text(), 'text');
  assert.equal(await (await fetch(url, { integrity: `sha256-${digest} ${right}` })).text(), 'text');
  assert.equal(await (await fetch(url, { integrity: 'nonsense' })).text(), 'text');
  await assert.rejects(fetch(url, { integrity: `sha256-${digest}` }), TypeError);
  await assert.rejects(fetch(url, { integrity: `sha512-${digest} ${right}` }), TypeError);
});

test('a request whose stream breaks off, or has something other than bytes, is a network error', async () => {
  for (const chunk of ['text', null, 99, new ArrayBuffer(1), new Blob()]) {
    const body = new ReadableStream({ start: (controller) => controller.enqueue(chunk) });
    await assert.rejects(fetch(`${ORIGIN}/echo`, { method: 'POST', body, duplex: 'half' }), TypeError);
  }
  const body = new ReadableStream({ start: (controller) => controller.error(new RangeError('x')) });
  await assert.rejects(fetch(`${ORIGIN}/echo`, { method: 'POST', body, duplex: 'half' }), TypeError);
}, { nodeDiffers: 'waits for ever after null' });

// The boundary between the runtime and the worker: handlers and what a run comes to.

const get = (url = 'http://localhost/x', headers = []) => ({ request: { url, method: 'GET', headers, body: false } });
const text = (answer) => Buffer.from(answer.bytes).toString();

export default function ({ test, assert, Engine }) {
  async function programOf(source, options) {
    const engine = await Engine.create(options);
    engine.handlers = engine.load(source);
    return engine;
  }

  test('handlers are found in the default export and among the exports, the default first', async () => {
    const engine = await programOf(`
      export default { fetch() { return new Response(this.name) }, name: 'default' };
      export function fetch() { return new Response('named') }
      export function map() {}
      export const other = 1;`);
    assert.deepEqual(engine.handlers, ['fetch', 'map']);
    assert.equal(text(await engine.run('fetch', get())), 'default');
  });

  test('a class instance and a function as the default export', async () => {
    const engine = await programOf(`class App { fetch() { return new Response(this.name) } name = 'instance' } export default new App()`);
    assert.equal(text(await engine.run('fetch', get())), 'instance');
  });

  test('a default export that is no object, and a handler that is no function, are refused', async () => {
    for (const source of ['export default 1', 'export default { fetch: 1 }']) {
      let error;
      try {
        await programOf(source);
      } catch (thrown) {
        error = thrown;
      }
      assert.equal(error?.name, 'TypeError');
    }
  });

  test('a small answer is one call, with its head', async () => {
    const engine = await programOf(`export default { fetch: () => new Response('héllo', { status: 201, statusText: 'Made', headers: { 'X-A': 'b' } }) }`);
    const answer = await engine.run('fetch', get());
    assert.deepEqual(answer.head, {
      status: 201, statusText: 'Made', headers: [['x-a', 'b'], ['content-type', 'text/plain;charset=UTF-8']], body: 'bytes',
    });
    assert.equal(text(answer), 'héllo');
    assert.equal((await engine.run('fetch', get())).head.status, 201);
  });

  test('an answer without a body', async () => {
    const engine = await programOf(`export default { fetch: async () => new Response(null, { status: 204 }) }`);
    assert.equal((await engine.run('fetch', get())).head.body, 'none');
  });

  test('a streamed answer is written piece by piece and closed', async () => {
    const engine = await programOf(`export default { fetch() {
      let n = 0;
      return new Response(new ReadableStream({ pull(c) { if (n++ < 3) c.enqueue(new TextEncoder().encode('p' + n)); else c.close() } })) } }`);
    const answer = await engine.run('fetch', get());
    assert.equal(answer.head.body, 'stream');
    assert.equal(Buffer.concat(answer.body).toString(), 'p1p2p3');
    assert.equal(answer.closed, '');
  });

  test('a stream that breaks off says so', async () => {
    const engine = await programOf(`export default { fetch() {
      let n = 0;
      return new Response(new ReadableStream({ pull(c) { if (n++) c.error(new RangeError('broke')); else c.enqueue(new Uint8Array(1)) } })) } }`);
    const answer = await engine.run('fetch', get());
    assert.equal(answer.closed, 'RangeError: broke');
    const wrong = await programOf(`export default { fetch: () => new Response(new ReadableStream({ start(c) { c.enqueue('text') } })) }`);
    assert((await wrong.run('fetch', get())).closed.startsWith('TypeError'));
  });

  test('the request has what came, and its headers cannot be changed', async () => {
    const engine = await programOf(`export default { async fetch(request, env, ctx) {
      let immutable = false;
      try { request.headers.set('a', 'b') } catch (e) { immutable = e instanceof TypeError }
      return Response.json([request.method, request.url, [...request.headers], await request.text(), immutable, env.KEY, ctx.env === env, ctx.caller, ctx.base,
        request instanceof Request, request.signal.aborted]) } }`);
    const answer = await engine.run(
      'fetch',
      {
        request: { url: 'http://localhost/a?b', method: 'PUT', headers: [['x-b', '2'], ['x-a', '1']], body: true }, env: { KEY: 'v' },
        caller: { kind: 'token', claims: { sub: 'x' } },
      },
      undefined,
      ['bo', 'dy'],
    );
    assert.deepEqual(JSON.parse(text(answer)), [
      'PUT', 'http://localhost/a?b', [['x-a', '1'], ['x-b', '2']], 'body', true, 'v', true, { kind: 'token', claims: { sub: 'x' } },
      'http://localhost/program.js', true, false,
    ]);
  });

  test('the body of the request streams through to the answer', async () => {
    const engine = await programOf(`export default { fetch: (request) => new Response(request.body) }`);
    const head = { request: { url: 'http://localhost/', method: 'POST', headers: [], body: true } };
    const answer = await engine.run('fetch', head, undefined, ['one', 'two']);
    assert.equal(Buffer.concat(answer.body).toString(), 'onetwo');
  });

  test('what a handler throws fails the run, with a stack in the file of the program', async () => {
    const engine = await programOf(`export default {
  fetch(request) {
    if (request.url.endsWith('a')) throw new RangeError('thrown');
    if (request.url.endsWith('b')) return Promise.reject({ odd: 1 });
    if (request.url.endsWith('c')) return { not: 'a response' };
    if (request.url.endsWith('d')) return Response.error();
    const used = new Response('x'); used.text(); return used;
  } }`);
    const fail = async (path) => (await engine.run('fetch', get(`http://localhost/${path}`))).failure;
    const a = await fail('a');
    assert.equal(a.name, 'RangeError');
    assert.equal(a.message, 'thrown');
    assert(a.stack.includes('program.js:3:'), a.stack);
    assert(!a.stack.includes('prelude.js'), a.stack);
    assert.equal((await fail('b')).message, 'thrown: { odd: 1 }');
    const c = await fail('c');
    assert.equal(c.name, 'TypeError');
    assert(c.message.includes("{ not: 'a response' }"), c.message);
    assert.equal((await fail('d')).name, 'TypeError');
    assert.equal((await fail('e')).name, 'TypeError');
  });

  test('waitUntil keeps the run from being done', async () => {
    const engine = await programOf(`export default { fetch(request, env, ctx) {
      ctx.waitUntil(new Promise((resolve) => setTimeout(() => { console.log('later'); resolve() }, 20)));
      ctx.waitUntil(Promise.reject(new Error('in the background')));
      return new Response('now') } }`);
    await engine.run('fetch', get());
    assert.equal(engine.logs.length, 2);
    assert(engine.logs[0].text.includes('in the background'));
    assert.equal(engine.logs[1].text, 'later');
  });

  const mapOf = (engine, pieces, head = {}) =>
    engine.run('map', { part: { address: '/a', offset: 0, size: 0, ...head } }, undefined, pieces);

  test('map has a part, and reduce values', async () => {
    const engine = await programOf(`
      export async function map(part, ctx) { return { at: [part.address, part.offset, part.size], text: await part.text(), used: part.bodyUsed, p: ctx.parameters } }
      export async function reduce(parts) { return parts.map((part) => part instanceof Uint8Array ? [...part] : part) }`);
    const part = { address: '/texts/a', offset: 7, size: 12 };
    const mapped = await engine.run('map', { part, parameters: { a: 'b' } }, undefined, ['a\r\nb', 'é\n\nlast']);
    assert.deepEqual(mapped.json, { at: ['/texts/a', 7, 12], text: 'a\r\nbé\n\nlast', used: true, p: { a: 'b' } });
    assert.deepEqual((await engine.run('reduce', { parts: [1, { a: 2 }] })).json, [1, { a: 2 }]);
    const bytes = new Uint8Array([1, 2, 3]).buffer;
    assert.deepEqual((await engine.run('reduce', { parts: [null, 'x', null], binary: [[0, 2], [2, 1]] }, bytes)).json, [[1, 2], 'x', [3]]);
    assert.deepEqual((await engine.run('reduce', {})).json, []);
  });

  test('the lines of a part, however it comes', async () => {
    const engine = await programOf(`export async function map(part) { const lines = []; for await (const line of part.lines()) lines.push(line); return lines }`);
    const text = 'one\r\ntwo\n\nbe\u00e9\u00e9\nlast';
    const bytes = Buffer.from(text);
    for (let step = 1; step <= bytes.length; step++) {
      const pieces = [];
      for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.subarray(at, at + step));
      assert.deepEqual((await mapOf(engine, pieces)).json, ['one', 'two', '', 'be\u00e9\u00e9', 'last']);
    }
    assert.deepEqual((await mapOf(engine, [])).json, []);
    assert.deepEqual((await mapOf(engine, ['\n'])).json, ['']);
    assert.deepEqual((await mapOf(engine, ['a\n'])).json, ['a']);
  });

  test('lines that are asked for all at once come in order', async () => {
    const engine = await programOf(`export async function map(part) { const lines = part.lines(); return Promise.all([lines.next(), lines.next(), lines.next(), lines.next()]) }`);
    const expected = [{ value: 'a', done: false }, { value: 'b', done: false }, { value: 'c', done: false }, { done: true }];
    assert.deepEqual((await mapOf(engine, ['a\nb', '\nc'])).json, expected);
  });

  test('a part is read once', async () => {
    const engine = await programOf(`export async function map(part) { await part.bytes(); try { part.lines() } catch (error) { return error.name } }`);
    assert.equal((await mapOf(engine, ['x'])).json, 'TypeError');
  });

  test('whether a map looks at where its part lies is told, once', async () => {
    for (const [expression, looks] of [['part.size', 0], ['part.address', 1], ['[part.offset, part.address]', 1]]) {
      const engine = await programOf(`export function map(part) { return ${expression} }`);
      await mapOf(engine, ['x']);
      assert.equal(engine.looks, looks, expression);
    }
  });

  test('an answer of map is JSON or bytes; a cycle and a Response fail', async () => {
    const engine = await programOf(`export function map(part) { if (part.size === 0) return new Uint8Array([1, 2]); if (part.size === 1) return undefined; if (part.size === 2) return new Response(''); const a = []; a.push(a); return a }`);
    const of = (size) => mapOf(engine, [], { size });
    assert.deepEqual(new Uint8Array((await of(0)).bytes), new Uint8Array([1, 2]));
    assert.equal((await of(1)).json, null);
    assert.equal((await of(2)).failure.name, 'TypeError');
    assert.equal((await of(3)).failure.name, 'TypeError');
  });

  test('main has arguments, input and a signal', async () => {
    const engine = await programOf(`export default { async main(args, ctx) {
      const seen = [];
      ctx.signal.addEventListener('abort', () => seen.push('aborted'));
      for await (const message of ctx.input()) { seen.push(typeof message === 'string' ? message : message.byteLength); if (message === 'break') break }
      for await (const message of ctx.input()) seen.push(message);
      return { args, seen } } }`);
    const answer = engine.run('main', { args: ['a'] });
    engine.event('input', { text: true }, new TextEncoder().encode('one').buffer);
    engine.event('input', { text: false }, new ArrayBuffer(3));
    engine.event('input', { text: true }, new TextEncoder().encode('break').buffer);
    engine.event('input', { text: true }, new TextEncoder().encode('after').buffer);
    engine.event('stop', {});
    assert.deepEqual((await answer).json, { args: ['a'], seen: ['one', 3, 'break', 'after', 'aborted'] });
  });

  test('message', async () => {
    const engine = await programOf(`export const message = (data, ctx) => typeof data === 'string' ? data + '!' : data`);
    assert.equal((await engine.run('message', { text: true }, new TextEncoder().encode('hi').buffer)).json, 'hi!');
    assert.equal((await engine.run('message', { text: false }, new ArrayBuffer(2))).bytes.byteLength, 2);
  });

  test('a socket: opened, messages in order, closed', async () => {
    const sent = [];
    const engine = await programOf(
      `export default {
        webSocketOpen(ws, ctx) { ws.send('welcome ' + ws.request.headers.get('x')) },
        async webSocketMessage(ws, data) { await new Promise((r) => setTimeout(r, data === 'first' ? 20 : 0)); await ws.send('echo ' + data) },
        async webSocketClose(ws, ctx, { code }) { console.log('closed', code, ws.readyState) } }`,
      { onSocketSend: (data) => sent.push(data) },
    );
    const done = engine.run('fetch', get('http://localhost/', [['upgrade', 'websocket'], ['x', 'y']]));
    assert.deepEqual(engine.answer.head, { status: 101, statusText: '', headers: [], body: 'none', webSocket: true });
    engine.event('socketMessage', { text: true }, new TextEncoder().encode('first').buffer);
    engine.event('socketMessage', { text: true }, new TextEncoder().encode('second').buffer);
    engine.event('socketClose', { code: 1001, reason: 'away' });
    await done;
    assert.deepEqual(sent, ['welcome y', 'echo first', 'echo second']);
    assert.equal(engine.logs[0].text, 'closed 1001 3');
  });

  test('a socket that is refused', async () => {
    const engine = await programOf(`export default { webSocketOpen: () => new Response('no', { status: 403 }), webSocketMessage() {} }`);
    assert.equal((await engine.run('fetch', get('http://localhost/', [['upgrade', 'websocket']]))).head.status, 403);
  });

  test('a script of the experiment', async () => {
    const engine = await Engine.create();
    engine.script(`x_push('a'); x_push('b');\nx_out = x_in.method + ' ' + x_in.url + ' ' + x_in.headers.cookie; x_err = 'logged'`);
    const answer = await engine.run('script', get('http://localhost/s?q=1', [['cookie', 'a=b']]));
    assert.deepEqual(answer.head, { status: 200, statusText: '', headers: [], body: 'stream' });
    assert.equal(Buffer.concat(answer.body).toString(), 'abGET /s?q=1 a=b');
    assert.equal(answer.closed, '');
    assert.deepEqual(engine.logs, [{ level: 'error', text: 'logged' }]);
    const plain = await Engine.create();
    plain.script(`x_out = 'all ' + x_in.body`);
    const post = { request: { url: 'http://localhost/', method: 'POST', headers: [], body: true } };
    assert.equal(text(await plain.run('script', post, undefined, ['of it'])), 'all of it');
    const failing = await Engine.create();
    failing.script(`\nnull.x`);
    const { failure } = await failing.run('script', get());
    assert.equal(failure.name, 'TypeError');
    assert(failure.stack.includes(':2:'), failure.stack);
  });

  test('a program cannot fetch while it is evaluated, and draws other numbers in each run', async () => {
    const engine = await programOf(`let why; try { await fetch('/x') } catch (e) { why = e.name }
      export default { fetch: () => Response.json([why, Math.random(), Math.random()]) }`);
    const [why, a, b] = JSON.parse(text(await engine.run('fetch', get())));
    const [, c] = JSON.parse(text(await engine.run('fetch', get())));
    assert.equal(why, 'TypeError');
    assert(a !== b && a !== c && a >= 0 && a < 1);
  });

  test('an image of a loaded program runs again and again, each time from the same state', async () => {
    const engine = await programOf(`let count = 0; const keep = new Map([['k', new Headers({ a: 'b' })]]);
      export default { async fetch(request, env, ctx) {
        await new Promise((r) => setTimeout(r, 1));
        return Response.json([++count, keep.get('k').get('a'), Math.random(), new URL('x', request.url).href]) } }`);
    const image = engine.image();
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(JSON.parse(text(await (await Engine.restore(image)).run('fetch', get()))));
    assert.deepEqual(answers.map(([count]) => count), [1, 1, 1]);
    assert.deepEqual(answers[0].slice(1, 2), ['b']);
    assert.equal(answers[0][3], 'http://localhost/x');
    assert(answers[0][2] !== answers[1][2]);
  });

  test('a process is taken up where its image was made, with its calls under way', async () => {
    const engine = await programOf(`export default { async main(args, ctx) {
      const seen = [];
      for await (const message of ctx.input()) { seen.push(message); await new Promise((r) => setTimeout(r, 30)) }
      return seen } }`);
    const say = (to, message) => to.event('input', { text: true }, new TextEncoder().encode(message).buffer);
    engine.run('main', { args: [] });
    say(engine, 'before');
    // The timer is under way now; its id is all that the worker has to remember.
    const [id] = engine.calls.keys();
    const image = engine.image();
    const second = await Engine.restore(image);
    second.answer = {};
    const finished = new Promise((resolve) => (second.finished = resolve));
    say(second, 'after');
    second.event('stop', {});
    const waiting = setInterval(() => { for (const call of second.calls.keys()) second.up('settle', call, true); }, 5);
    second.up('settle', id, true);
    await finished;
    clearInterval(waiting);
    assert.deepEqual(second.answer.json, ['before', 'after']);
  });

  test('an aborted answer rejects at once', async () => {
    const engine = await programOf(`export default { async fetch() {
      const log = [];
      const body = new ReadableStream({ start: (c) => c.error(1) });
      await Promise.all([new Response(body).text().catch(() => log.push('rejected')), Promise.resolve().then(() => log.push('next'))]);
      return new Response(log.join()) } }`);
    assert.equal(text(await engine.run('fetch', get())), 'rejected,next');
  });
}

// Programs that want to reach the worker, or to break what is built in.

const get = { request: { url: 'http://localhost/x', method: 'GET', headers: [['a', 'b']], body: false } };

export default function ({ test, assert, Engine, ORIGIN }) {
  async function run(source) {
    const engine = await Engine.create();
    engine.load(source);
    const answer = await engine.run('fetch', { ...get, base: `${ORIGIN}/program.js` });
    if (answer.failure !== undefined) throw new Error(`${answer.failure.name}: ${answer.failure.message}\n${answer.failure.stack}`);
    return answer.bytes === undefined ? Buffer.concat(answer.body).toString() : Buffer.from(answer.bytes).toString();
  }

  test('neither host nor runtime is on the global object', async () => {
    const names = JSON.parse(await run(`export default { fetch: () => Response.json(Reflect.ownKeys(globalThis).map(String)) }`));
    assert(!names.some((name) => name.includes('__')), names.join());
  });

  test('call sites of the stack cannot be had', async () => {
    const source = `let seen = [];
      Error.prepareStackTrace = (error, sites) => { seen = sites; return '' };
      export default { fetch() { new Error('x').stack; return Response.json(seen.length) } }`;
    assert.equal(await run(source), '0');
  });

  test('whoever replaces what the platform uses sees no function of the worker', async () => {
    // Everything that a replaced function is called with, and called on, is looked through for functions that are not the program's.
    const source = `
      const seen = [];
      const { apply: reflectApply, ownKeys } = Reflect;
      const { getOwnPropertyDescriptor, defineProperty } = Object;
      const note = (value) => { if (typeof value === 'function' || (typeof value === 'object' && value !== null)) seen[seen.length] = value };
      const spy = (holder, key) => {
        const original = holder[key];
        defineProperty(holder, key, { configurable: true, writable: true, value: function (...args) { note(this); for (let i = 0; i < args.length; i++) note(args[i]); return reflectApply(original, this, args) } });
      };
      for (const [holder, keys] of [[Map.prototype, ['get', 'set', 'delete', 'forEach']], [Set.prototype, ['add', 'delete', 'forEach']], [WeakMap.prototype, ['get', 'set']],
        [Promise.prototype, ['then', 'catch']], [Promise, ['resolve', 'reject']], [JSON, ['parse', 'stringify']], [Array.prototype, ['push', 'slice', 'splice', 'shift', 'join', 'map']],
        [Reflect, ['apply', 'construct']], [Object, ['defineProperty', 'create', 'getPrototypeOf']], [String.prototype, ['slice', 'split']],
        [Function.prototype, ['call', 'apply', 'bind']]]) for (const key of keys) spy(holder, key);
      export default { async fetch(request, env, ctx) {
        ctx.waitUntil(new Promise((r) => setTimeout(r, 1)));
        const response = await fetch('/text');
        const text = await response.text();
        const suspicious = [];
        const all = seen.slice();
        if (all.length === 0) suspicious.push('nothing was seen');
        for (const value of all) {
          for (const key of ['respond', 'done', 'start', 'settle', 'loaded', 'run']) { let own; try { own = getOwnPropertyDescriptor(value, key) } catch {} if (own) suspicious.push(key) }
        }
        return new Response(text + suspicious.join()) } }`;
    assert.equal(await run(source), 'text');
  });

  test('the platform works on when primordials are gone', async () => {
    const source = `
      const drop = (holder, names) => { for (let i = 0; i < names.length; i++) delete holder[names[i]] };
      const { getOwnPropertyNames } = Object;
      const without = (names, name) => names.filter((other) => other !== name && other !== 'constructor');
      const strings = without(without(getOwnPropertyNames(String.prototype), 'length'), 'concat');
      drop(Array.prototype, ['push', 'slice', 'splice', 'shift', 'join', 'map', 'sort', 'forEach', 'indexOf', 'filter', Symbol.iterator]);
      drop(Map.prototype, getOwnPropertyNames(Map.prototype));
      drop(WeakMap.prototype, getOwnPropertyNames(WeakMap.prototype));
      drop(String.prototype, strings);
      drop(Function.prototype, ['call', 'apply', 'bind']);
      delete Reflect.apply; delete JSON.parse; delete JSON.stringify; delete Object.defineProperty; delete Promise.resolve;
      delete globalThis.Promise; delete globalThis.Map; delete globalThis.Uint8Array; delete globalThis.TypeError; delete globalThis.Object;
      globalThis.AbortController = globalThis.ReadableStream = globalThis.Headers = undefined;
      export default { async fetch(request) {
        const headers = request.headers.get('a');
        const response = await fetch('/text?body=fetched', { headers: { x: 'y' } });
        const text = await response.text();
        await new Response('x').json().catch(() => {});
        await new Promise2((r) => setTimeout(r, 1));
        return Response.json({ headers, text }) } }
      const Promise2 = (async () => {})().constructor;`;
    assert.equal(await run(source), '{"headers":"b","text":"fetched"}');
  });

  test('setters on Object.prototype and Array.prototype see nothing of the worker', async () => {
    const source = `
      const seen = null;
      let log = '';
      for (const name of ['value', 'next', 'status', 'body', 'call', 'id', 'handler', '0', '1', 'pairs', 'source', 'respond'])
        Object.defineProperty(Object.prototype, name, { __proto__: null, configurable: true, set(value) { if (this === seen) return; Object.defineProperty(this, name, { __proto__: null, value, writable: true, configurable: true, enumerable: true }); log += typeof value + ' ' } });
      export default { async fetch() { const r = await fetch('/text'); return new Response((await r.text()) + log.includes('function')) } }`;
    assert.equal(await run(source), 'textfalse');
  });

  test('a thenable that is returned is followed, and what it throws fails the run', async () => {
    assert.equal(await run(`export default { fetch: () => ({ then(resolve) { resolve(new Response('thenable')) } }) }`), 'thenable');
    let error;
    try {
      await run(`export default { fetch: () => ({ get then() { throw new RangeError('x') } }) }`);
    } catch (thrown) {
      error = thrown;
    }
    assert(error.message.startsWith('RangeError: x'));
  });
}

// Console Standard: what the log says.

export default function ({ test, assert, Engine }) {
  async function logged(source) {
    const engine = await Engine.create();
    engine.load(`${source}\nexport default {}`);
    return engine.logs.map(({ text }) => text);
  }
  const cases = [
    [`'plain', 1, -0, 1n, true, null, undefined, Symbol('s')`, `plain 1 -0 1n true null undefined Symbol(s)`],
    [`['a', "it's", 1, , undefined]`, `[ 'a', "it's", 1, <1 empty item>, undefined ]`],
    [`{ a: 1, 'b-c': { d: [] }, [Symbol('s')]: 1, get x() { return 1 }, set x(v) {} }`, `{ a: 1, 'b-c': { d: [] }, x: [Getter/Setter], [Symbol(s)]: 1 }`],
    [`{ a: { b: { c: { d: { e: 1 } } } } }`, `{ a: { b: { c: { d: [Object] } } } }`],
    [`(() => { const a = { x: 1 }; a.self = a; return a })()`, `{ x: 1, self: [Circular] }`],
    [`new Map([['a', { b: 1 }]])`, `Map(1) { 'a' => { b: 1 } }`],
    [`new Set([1, 'a'])`, `Set(2) { 1, 'a' }`],
    [`new Date(0)`, `1970-01-01T00:00:00.000Z`],
    [`/a+/gi`, `/a+/gi`],
    [`function f() {}`, `[Function: f]`],
    [`class A extends Map {}`, `[class A extends Map]`],
    [`new (class Point { x = 1 })()`, `Point { x: 1 }`],
    [`Object.create(null)`, `[Object: null prototype] {}`],
    [`new Uint8Array([1, 2])`, `Uint8Array(2) [ 1, 2 ]`],
    [`new Uint8Array([1, 2]).buffer`, `ArrayBuffer { byteLength: 2, bytes: <01 02> }`],
    [`Promise.resolve(1)`, `Promise {}`],
    [`new Proxy({ a: 1 }, { ownKeys() { throw 1 } })`, `[Object]`],
    [`'%s is %d years and %i, %f, %o %O %c%%', 'Bob', 42.5, 42.9, '1.5', [1], { a: 1 }, 'css', 'rest'`, `Bob is 42.5 years and 42, 1.5, [ 1 ] { a: 1 } % rest`],
    [`'%s', { a: { b: 1 } }`, `{ a: [Object] }`],
    [`'100%', 'x'`, `100% x`],
    [`new Number(3), new String('s')`, `[Number: 3] [String: 's']`],
    [`new Headers({ a: 'b' })`, `Headers { a: 'b' }`],
    [`new Response('x', { status: 201 })`, undefined],
    [`new URL('http://x/y')`, undefined],
  ];
  for (const [args, expected] of cases) {
    test(`log(${args})`, async () => {
      const [text] = await logged(`console.log(${args})`);
      if (expected === undefined) assert(text.length > 10, text);
      else assert.equal(text, expected);
    });
  }

  test('errors with stack, cause and properties', async () => {
    const [text] = await logged(`const e = new TypeError('bad', { cause: new Error('why') }); e.code = 'X'; console.log(e)`);
    assert(text.startsWith('TypeError: bad\n    at '), text);
    assert(text.includes('program.js:1:'), text);
    assert(text.includes('[cause]: Error: why'), text);
    assert(text.includes("code: 'X'"), text);
    const [dom] = await logged(`console.log(new DOMException('m', 'AbortError'))`);
    assert(dom.startsWith('AbortError: m'), dom);
  });

  test('long values are broken into lines', async () => {
    const [text] = await logged(`console.log({ first: 'a'.repeat(40), second: 'b'.repeat(40) })`);
    assert.equal(text, `{\n  first: '${'a'.repeat(40)}',\n  second: '${'b'.repeat(40)}'\n}`);
  });

  test('levels, groups, counts, timers, assertions, tables', async () => {
    const engine = await Engine.create();
    engine.load(`
      console.debug('d'); console.info('i'); console.warn('w'); console.error('e');
      console.group('G'); console.log('in\\nside'); console.groupEnd(); console.log('out');
      console.count(); console.count('x'); console.count(); console.countReset(); console.count();
      console.assert(true, 'no'); console.assert(false, 'message %s', 'x'); console.assert(false);
      console.time('t'); console.timeEnd('t'); console.timeEnd('t');
      console.table([{ a: 1, b: 'x' }, { a: 2, c: true }]);
      console.log(); console.trace('here');
      export default {}`);
    const lines = engine.logs.map(({ level, text }) => `${level} ${text}`);
    assert.deepEqual(lines.slice(0, 15), [
      'debug d', 'info i', 'warn w', 'error e', 'info G', 'info   in\n  side', 'info out', 'info default: 1', 'info x: 1', 'info default: 2', 'info default: 1',
      'error Assertion failed: message x', 'error Assertion failed', lines[13], "warn Timer 't' does not exist",
    ]);
    assert(/^info t: \d+\.\d{3}ms$/.test(lines[13]), lines[13]);
    assert.equal(lines[15].split('\n').length, 6);
    assert(lines[15].includes("│ 0       │ 1 │ 'x' │      │"), lines[15]);
    assert(lines[16].startsWith('debug Trace: here\n    at '), lines[16]);
  });

  test('a huge value does not make a huge line', async () => {
    const [text] = await logged(`console.log(Array.from({ length: 1e5 }, (_, i) => ({ i, s: 'x'.repeat(100) })))`);
    assert(text.length < 40000, `${text.length}`);
  });

  test('a long array costs no more than what is shown of it', async () => {
    const engine = await Engine.create();
    engine.load(`const long = new Array(1_000_000).fill('x');
      const before = performance.now();
      console.log(long);
      console.log(performance.now() - before < 200 ? 'soon' : 'late');
      export default {}`);
    const [shown, when] = engine.logs.map(({ text }) => text);
    assert(shown.includes('... 999900 more items'), shown.slice(-60));
    assert.equal(when, 'soon');
  });
}

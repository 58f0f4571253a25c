// Fetch Standard, section 5.1: the Headers class.

test('made of pairs, of a record, of other headers', () => {
  assert.equal(new Headers([['a', '1'], ['A', '2']]).get('a'), '1, 2');
  assert.equal(new Headers({ a: '1', B: '2' }).get('b'), '2');
  assert.equal(new Headers(new Headers({ x: 'y' })).get('X'), 'y');
  assert.equal(new Headers(new Map([['m', '1']])).get('m'), '1');
  assert.deepEqual([...new Headers(undefined)], []);
  assert.throws(() => new Headers(null), TypeError);
  assert.throws(() => new Headers(1), TypeError);
  assert.throws(() => new Headers('ab'), TypeError);
  assert.throws(() => new Headers([['a']]), TypeError);
  assert.throws(() => new Headers([['a', 'b', 'c']]), TypeError);
});

test('names and values are checked, values are trimmed', () => {
  const headers = new Headers();
  headers.append('a', ' \t\r\n x y \t');
  assert.equal(headers.get('a'), 'x y');
  for (const name of ['', ' ', 'a b', 'a:', 'é', 'a\n']) assert.throws(() => headers.set(name, 'x'), TypeError, name);
  for (const value of ['a\0b', 'a\rb', 'a\nb', 'Ā']) assert.throws(() => headers.set('x', value), TypeError);
  headers.set('latin', 'é');
  assert.equal(headers.get('latin'), 'é');
  assert.throws(() => headers.get('a b'), TypeError);
  assert.throws(() => headers.has(''), TypeError);
  assert.throws(() => headers.delete('('), TypeError);
});

test('iteration is sorted and combined, but for Set-Cookie', () => {
  const headers = new Headers([['b', '1'], ['Set-Cookie', 'x=1'], ['a', '2'], ['b', '3'], ['set-cookie', 'y=2']]);
  assert.deepEqual([...headers], [['a', '2'], ['b', '1, 3'], ['set-cookie', 'x=1'], ['set-cookie', 'y=2']]);
  assert.deepEqual(headers.getSetCookie(), ['x=1', 'y=2']);
  assert.equal(headers.get('set-cookie'), 'x=1, y=2');
  assert.deepEqual([...headers.keys()], ['a', 'b', 'set-cookie', 'set-cookie']);
  assert.deepEqual([...headers.values()], ['2', '1, 3', 'x=1', 'y=2']);
  const seen = [];
  headers.forEach(function (value, name, all) {
    seen.push(value, name, all === headers, this.t);
  }, { t: 1 });
  assert.deepEqual(seen.slice(0, 4), ['2', 'a', true, 1]);
});

test('an iterator sees changes', () => {
  const headers = new Headers({ a: '1', c: '3' });
  const names = [];
  for (const [name] of headers) {
    names.push(name);
    if (name === 'a') headers.append('b', '2');
  }
  assert.deepEqual(names, ['a', 'b', 'c']);
  const iterator = headers.keys();
  assert.equal(Object.prototype.toString.call(iterator), '[object Headers Iterator]');
  assert.equal(Object.getPrototypeOf(Object.getPrototypeOf(iterator)), Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())));
});

test('set replaces in place, delete removes all', () => {
  const headers = new Headers([['a', '1'], ['b', '2'], ['a', '3']]);
  headers.set('A', '4');
  assert.equal(headers.get('a'), '4');
  headers.delete('a');
  assert.equal(headers.has('a'), false);
  assert.equal(headers.get('a'), null);
});

test('the shape of the interface', () => {
  assert.equal(Headers.length, 0);
  assert.equal(Headers.name, 'Headers');
  assert.equal(Headers.prototype.append.length, 2);
  assert.equal(Headers.prototype.get.length, 1);
  assert.equal(Headers.prototype.forEach.length, 1);
  assert.equal(Headers.prototype[Symbol.iterator], Headers.prototype.entries);
  assert.equal(Object.prototype.toString.call(new Headers()), '[object Headers]');
  assert.equal(Object.getOwnPropertyDescriptor(globalThis, 'Headers').enumerable, false);
  assert.equal(Object.getOwnPropertyDescriptor(Headers.prototype, 'append').enumerable, true);
  assert.equal(Object.getOwnPropertyDescriptor(Headers.prototype, Symbol.iterator).enumerable, false);
  assert.throws(() => Headers.prototype.get.call({}, 'a'), TypeError);
  assert.throws(() => Headers(), TypeError);
  assert.throws(() => new Headers().append('a'), TypeError);
});

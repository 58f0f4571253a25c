// URL Standard, section 6.2: the URLSearchParams class.

test('it is made of text, pairs, records and nothing', () => {
  assert.equal(new URLSearchParams('?a=b').toString(), 'a=b');
  assert.equal(new URLSearchParams('??a=b').toString(), '%3Fa=b');
  assert.equal(new URLSearchParams([['a', 'b'], new Set(['c', 'd'])]).toString(), 'a=b&c=d');
  assert.equal(new URLSearchParams({ a: 1, b: null }).toString(), 'a=1&b=null');
  assert.equal(new URLSearchParams(new URLSearchParams('x=y')).toString(), 'x=y');
  assert.equal(new URLSearchParams(undefined).toString(), '');
  assert.equal(new URLSearchParams().size, 0);
});

test('null is text', () => {
  assert.equal(new URLSearchParams(null).toString(), 'null=');
}, { nodeDiffers: 'takes it for nothing' });

test('what is no list of pairs is refused', () => {
  assert.throws(() => new URLSearchParams([['a']]), TypeError);
  assert.throws(() => new URLSearchParams([['a', 'b', 'c']]), TypeError);
  assert.throws(() => new URLSearchParams([1]), TypeError);
  assert.throws(() => new URLSearchParams({ [Symbol.iterator]: 1 }), TypeError);
  assert.throws(() => new URLSearchParams(Symbol('x')), TypeError);
});

test('the keys of a record that become the same are one', () => {
  assert.deepEqual([...new URLSearchParams({ '\ud835x': '1', xx: '2', '\ud83dx': '3' })], [['\ufffdx', '3'], ['xx', '2']]);
});

test('pairs are appended, deleted, read and set', () => {
  const params = new URLSearchParams('a=1&b=2&a=3');
  params.append('c', 4);
  assert.equal(params.get('a'), '1');
  assert.equal(params.get('x'), null);
  assert.deepEqual(params.getAll('a'), ['1', '3']);
  assert.equal(params.has('b'), true);
  assert.equal(params.size, 4);
  params.set('a', '5');
  assert.equal(params.toString(), 'a=5&b=2&c=4');
  params.set('d', '6');
  params.delete('b');
  assert.equal(params.toString(), 'a=5&c=4&d=6');
});

test('a value narrows has and delete', () => {
  const params = new URLSearchParams('a=1&a=2&a=1&b=1');
  assert.equal(params.has('a', '2'), true);
  assert.equal(params.has('a', '3'), false);
  assert.equal(params.has('a', undefined), true);
  params.delete('a', '1');
  assert.equal(params.toString(), 'a=2&b=1');
});

test('sorting goes by code units and keeps the order of equal names', () => {
  const params = new URLSearchParams('z=1&\u{1f308}=2&\uffff=3&a=4&z=0&a=3');
  params.sort();
  assert.deepEqual([...params], [['a', '4'], ['a', '3'], ['z', '1'], ['z', '0'], ['\u{1f308}', '2'], ['\uffff', '3']]);
});

test('iteration sees what is changed during it', () => {
  const url = new URL('http://h/?a=1&b=2&c=3');
  const seen = [];
  for (const [name] of url.searchParams) {
    seen.push(name);
    if (name === 'a') url.searchParams.delete('b');
  }
  assert.deepEqual(seen, ['a', 'c']);
  const params = new URLSearchParams('a=1&b=2');
  assert.deepEqual([...params.keys()], ['a', 'b']);
  assert.deepEqual([...params.values()], ['1', '2']);
  params.forEach((value, name, object) => {
    assert.equal(object, params);
    seen.push(name + value);
  });
  assert.deepEqual(seen, ['a', 'c', 'a1', 'b2']);
});

test('parameters that are missing are asked for', () => {
  const params = new URLSearchParams();
  for (const [name, count] of [['append', 2], ['delete', 1], ['get', 1], ['getAll', 1], ['has', 1], ['set', 2], ['forEach', 1]]) {
    assert.throws(() => params[name](...Array(count - 1).fill('x')), TypeError, name);
    assert.equal(params[name].length, count, name);
  }
});

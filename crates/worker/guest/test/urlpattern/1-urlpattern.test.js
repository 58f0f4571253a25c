// URL Pattern Standard, section 1: the URLPattern class.

const missing = { nodeDiffers: 'Node.js 20 has no URLPattern' };

test('a pattern of text is matched part by part', () => {
  const pattern = new URLPattern('https://*.example.com/books/:id(\\d+)\\?lang=:lang');
  assert.equal(pattern.protocol, 'https');
  assert.equal(pattern.hostname, '*.example.com');
  assert.equal(pattern.pathname, '/books/:id(\\d+)');
  assert.equal(pattern.search, 'lang=:lang');
  assert.equal(pattern.hasRegExpGroups, true);
  assert.equal(pattern.test('https://shop.example.com/books/12?lang=de'), true);
  assert.equal(pattern.test('https://shop.example.com/books/x?lang=de'), false);
  assert.equal(pattern.test('nothing'), false);
}, missing);

test('what matched is told with its groups', () => {
  const pattern = new URLPattern({ pathname: '/:kind/:name?' });
  const match = pattern.exec('http://h/a/b?q#f');
  assert.deepEqual(match.inputs, ['http://h/a/b?q#f']);
  assert.deepEqual(match.pathname.groups, { kind: 'a', name: 'b' });
  assert.equal(match.pathname.input, '/a/b');
  assert.deepEqual(match.search, { input: 'q', groups: { 0: 'q' } });
  assert.deepEqual(Object.keys(match), ['inputs', 'protocol', 'username', 'password', 'hostname', 'port', 'pathname', 'search', 'hash']);
  assert.equal(pattern.exec('http://h/a').pathname.groups.name, undefined);
  assert.equal(pattern.exec({ pathname: '/a/b/c' }), null);
}, missing);

test('relative patterns and inputs take a base', () => {
  const pattern = new URLPattern('/x/*', 'http://h:81/base');
  assert.equal(pattern.port, '81');
  assert.equal(pattern.test('/x/y', 'http://h:81'), true);
  assert.equal(pattern.test('http://h/x/y'), false);
  assert.deepEqual(pattern.exec('/x/y', 'http://h:81').inputs, ['/x/y', 'http://h:81']);
  assert.throws(() => new URLPattern('/x'), TypeError);
  assert.throws(() => new URLPattern({ pathname: '/x' }, 'http://h'), TypeError);
  assert.throws(() => pattern.test({ pathname: '/x/y' }, 'http://h'), TypeError);
  assert.throws(() => new URLPattern('(unbalanced'), TypeError);
}, missing);

test('without parameters it matches everything', () => {
  const pattern = new URLPattern();
  assert.equal(pattern.pathname, '*');
  assert.equal(pattern.test('http://anything/at?all'), true);
  assert.equal(pattern.hasRegExpGroups, false);
}, missing);

test('case is told apart unless it is not to be', () => {
  assert.equal(new URLPattern({ pathname: '/A' }).test('http://h/a'), false);
  assert.equal(new URLPattern({ pathname: '/A' }, { ignoreCase: true }).test('http://h/a'), true);
  assert.equal(new URLPattern('/A', 'http://h', { ignoreCase: true }).test('http://h/a'), true);
}, missing);

test('a match says what was put in, not what was made of it', () => {
  const match = new URLPattern({ port: '80' }).exec({ port: '8\t0' });
  assert.equal(match.inputs[0].port, '8\t0');
  assert.equal(match.port.input, '80');
}, missing);

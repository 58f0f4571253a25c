// URL Standard, section 6.1: the URL class.

test('an address is parsed into its parts', () => {
  const url = new URL('HTTPS://user:pa%20ss@Example.COM:8443/a/./b/../c%7e?x=1&y#frag');
  assert.equal(url.href, 'https://user:pa%20ss@example.com:8443/a/c%7e?x=1&y#frag');
  assert.equal(url.origin, 'https://example.com:8443');
  assert.equal(url.protocol, 'https:');
  assert.equal(url.username, 'user');
  assert.equal(url.password, 'pa%20ss');
  assert.equal(url.host, 'example.com:8443');
  assert.equal(url.hostname, 'example.com');
  assert.equal(url.port, '8443');
  assert.equal(url.pathname, '/a/c%7e');
  assert.equal(url.search, '?x=1&y');
  assert.equal(url.hash, '#frag');
  assert.equal(url.toString(), url.href);
  assert.equal(JSON.stringify({ url }), `{"url":"${url.href}"}`);
});

test('a relative address needs a base, and takes what it lacks from it', () => {
  assert.equal(new URL('../x?y', 'http://h/a/b/c').href, 'http://h/a/x?y');
  assert.equal(new URL('//other/p', 'https://h/').href, 'https://other/p');
  assert.throws(() => new URL('/x'), TypeError);
  assert.throws(() => new URL('/x', 'nothing'), TypeError);
  assert.throws(() => new URL(), TypeError);
  assert.throws(() => URL('http://h/'), TypeError);
});

test('hosts are made ASCII, and numbers addresses', () => {
  assert.equal(new URL('http://Bücher.example/').host, 'xn--bcher-kva.example');
  assert.equal(new URL('http://0x7f.1/').host, '127.0.0.1');
  assert.equal(new URL('http://[0:0::1]/').host, '[::1]');
  assert.throws(() => new URL('http://a b/'), TypeError);
  assert.throws(() => new URL('http://256.256.256.256/'), TypeError);
});

test('parse and canParse do not throw', () => {
  assert.equal(URL.parse('/a', 'http://h/').href, 'http://h/a');
  assert(URL.parse('http://h/') instanceof URL);
  assert.equal(URL.parse('nothing'), null);
  assert.equal(URL.parse.length, 1);
}, { nodeDiffers: 'Node.js 20 has no URL.parse' });

test('canParse tells without making one', () => {
  assert.equal(URL.canParse('http://h/'), true);
  assert.equal(URL.canParse('/a', 'http://h/'), true);
  assert.equal(URL.canParse('/a'), false);
  assert.equal(URL.canParse('http://h:99999/'), false);
  assert.equal(URL.canParse(undefined, 'http://h/'), true);
  assert.throws(() => URL.canParse(), TypeError);
});

test('each part can be set, and what cannot be is ignored', () => {
  const url = new URL('http://h/');
  url.protocol = 'https';
  url.username = 'me@';
  url.password = 'a:b';
  url.host = 'example.org:81';
  url.pathname = 'a b';
  url.search = 'q=ä';
  url.hash = 'x y';
  assert.equal(url.href, 'https://me%40:a%3Ab@example.org:81/a%20b?q=%C3%A4#x%20y');
  url.port = '443';
  assert.equal(url.port, '');
  url.port = 'none';
  url.protocol = 'foo';
  url.hostname = '';
  assert.equal(url.host, 'example.org');
  assert.throws(() => { url.href = 'nothing'; }, TypeError);
  url.href = 'data:text/plain,x';
  assert.equal(url.origin, 'null');
  url.host = 'ignored';
  assert.equal(url.href, 'data:text/plain,x');
});

test('what only can be read stays', () => {
  const url = new URL('http://h/?a');
  assert.throws(() => { 'use strict'; url.origin = 'x'; }, TypeError);
  assert.throws(() => { 'use strict'; url.searchParams = 'x'; }, TypeError);
});

test('searchParams is the same object and follows the address', () => {
  const url = new URL('http://h/?a=1');
  const params = url.searchParams;
  assert.equal(params, url.searchParams);
  url.search = '?b=2';
  assert.equal(params.get('b'), '2');
  assert.equal(params.has('a'), false);
  url.href = 'http://h/?c=3';
  assert.equal(params.toString(), 'c=3');
  url.search = '';
  assert.equal(params.size, 0);
});

test('the address follows searchParams', () => {
  const url = new URL('http://h/?a=1#f');
  url.searchParams.append('b', 'ä ö');
  assert.equal(url.href, 'http://h/?a=1&b=%C3%A4+%C3%B6#f');
  url.searchParams.delete('a');
  url.searchParams.delete('b');
  assert.equal(url.href, 'http://h/#f');
  assert.equal(url.search, '');
});

test('lone surrogates become replacement characters', () => {
  assert.equal(new URL('http://h/\ud800').href, 'http://h/%EF%BF%BD');
});

test('the getters ask for a URL', () => {
  const { get } = Object.getOwnPropertyDescriptor(URL.prototype, 'href');
  assert.throws(() => get.call({}), TypeError);
  assert.throws(() => get.call(Object.create(URL.prototype)), TypeError);
});

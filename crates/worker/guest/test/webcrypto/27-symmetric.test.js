// Web Cryptography, sections 27 to 33: AES, HMAC, HKDF and PBKDF2.

const { subtle } = crypto;
const bytes = (...list) => new Uint8Array(list);
const data = new TextEncoder().encode('some data of more than one block');
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');
const unhex = (text) => new Uint8Array(text.match(/../g).map((pair) => parseInt(pair, 16)));

test('every mode gives back what it was given', async () => {
  for (const length of [128, 192, 256]) {
    for (const params of [
      { name: 'AES-CBC', iv: new Uint8Array(16) }, { name: 'AES-CTR', counter: new Uint8Array(16), length: 64 },
      { name: 'AES-GCM', iv: new Uint8Array(12) }, { name: 'AES-GCM', iv: new Uint8Array(32), tagLength: 96, additionalData: data },
    ]) {
      const key = await subtle.generateKey({ name: params.name, length }, true, ['encrypt', 'decrypt']);
      const sealed = await subtle.encrypt(params, key, data);
      assert.deepEqual(new Uint8Array(await subtle.decrypt(params, key, sealed)), data, params.name);
      assert.equal((await subtle.exportKey('jwk', key)).alg, `A${length}${params.name.slice(4)}`);
    }
  }
});

test('AES-GCM is that of its specification', async () => {
  const key = await subtle.importKey('raw', unhex('feffe9928665731c6d6a8f9467308308'), 'AES-GCM', false, ['encrypt', 'decrypt']);
  const params = { name: 'AES-GCM', iv: unhex('cafebabefacedbaddecaf888'), additionalData: unhex('feedfacedeadbeeffeedfacedeadbeefabaddad2') };
  const text = unhex('d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39');
  const sealed = await subtle.encrypt(params, key, text);
  assert.equal(hex(sealed.slice(-16)), '5bc94fbc3221a5db94fae95ae7121a47');
  new Uint8Array(sealed)[0] ^= 1;
  await assert.rejects(subtle.decrypt(params, key, sealed), 'OperationError');
  await assert.rejects(subtle.decrypt(params, key, bytes(1)), 'OperationError');
  await assert.rejects(subtle.encrypt({ ...params, tagLength: 100 }, key, text), 'OperationError');
});

test('a counter of few bits returns to zero', async () => {
  const key = await subtle.importKey('raw', new Uint8Array(16), 'AES-CTR', false, ['encrypt']);
  const counter = (last) => bytes(...Array(15).fill(9), last);
  const zeros = new Uint8Array(32);
  const over = await subtle.encrypt({ name: 'AES-CTR', counter: counter(255), length: 8 }, key, zeros);
  const start = await subtle.encrypt({ name: 'AES-CTR', counter: counter(0), length: 8 }, key, zeros);
  assert.equal(hex(over.slice(16)), hex(start.slice(0, 16)));
  await assert.rejects(subtle.encrypt({ name: 'AES-CTR', counter: counter(0), length: 4 }, key, new Uint8Array(17 * 16)), 'OperationError');
  await assert.rejects(subtle.encrypt({ name: 'AES-CTR', counter: counter(0), length: 0 }, key, zeros), 'OperationError');
  await assert.rejects(subtle.encrypt({ name: 'AES-CTR', counter: new Uint8Array(15), length: 8 }, key, zeros), 'OperationError');
  await assert.rejects(subtle.encrypt({ name: 'AES-CTR', counter: counter(0), length: 256 }, key, zeros), TypeError);
});

test('keys of other lengths are refused', async () => {
  await assert.rejects(subtle.importKey('raw', new Uint8Array(15), 'AES-CBC', true, ['encrypt']), 'DataError');
  await assert.rejects(subtle.generateKey({ name: 'AES-CBC', length: 64 }, true, ['encrypt']), 'OperationError');
  await assert.rejects(subtle.importKey('spki', new Uint8Array(16), 'AES-CBC', true, ['encrypt']), 'NotSupportedError');
  const key = await subtle.importKey('raw', new Uint8Array(16), 'AES-CBC', true, ['encrypt', 'decrypt']);
  await assert.rejects(subtle.encrypt({ name: 'AES-CBC', iv: new Uint8Array(12) }, key, data), 'OperationError');
  await assert.rejects(subtle.decrypt({ name: 'AES-CBC', iv: new Uint8Array(16) }, key, new Uint8Array(16)), 'OperationError');
});

test('HMAC is that of RFC 4231', async () => {
  const key = await subtle.importKey('raw', new TextEncoder().encode('Jefe'), { name: 'HMAC', hash: 'SHA-256' }, true, ['sign', 'verify']);
  assert.equal(key.algorithm.length, 32);
  const text = new TextEncoder().encode('what do ya want for nothing?');
  const signature = await subtle.sign('HMAC', key, text);
  assert.equal(hex(signature), '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843');
  assert.equal(await subtle.verify('HMAC', key, signature, text), true);
  assert.equal(await subtle.verify('HMAC', key, signature, data), false);
  assert.equal(await subtle.verify('HMAC', key, signature.slice(1), text), false);
  assert.deepEqual(await subtle.exportKey('jwk', key), { alg: 'HS256', ext: true, k: 'SmVmZQ', key_ops: ['sign', 'verify'], kty: 'oct' });
});

test('the length of a key of HMAC', async () => {
  const generate = async (params) => (await subtle.generateKey({ name: 'HMAC', ...params }, true, ['sign'])).algorithm.length;
  assert.equal(await generate({ hash: 'SHA-1' }), 512);
  assert.equal(await generate({ hash: 'SHA-512' }), 1024);
  assert.equal(await generate({ hash: 'SHA-1', length: 40 }), 40);
  await assert.rejects(subtle.importKey('raw', new Uint8Array(), { name: 'HMAC', hash: 'SHA-1' }, true, ['sign']), 'DataError');
  await assert.rejects(subtle.importKey('raw', new Uint8Array(2), { name: 'HMAC', hash: 'SHA-1', length: 17 }, true, ['sign']), 'DataError');
  await assert.rejects(subtle.generateKey({ name: 'HMAC', hash: 'SHA-1', length: 0 }, true, ['sign']), 'OperationError');
});

test('HKDF is that of RFC 5869', async () => {
  const key = await subtle.importKey('raw', new Uint8Array(22).fill(11), 'HKDF', false, ['deriveBits', 'deriveKey']);
  const params = { name: 'HKDF', hash: 'SHA-256', salt: unhex('000102030405060708090a0b0c'), info: unhex('f0f1f2f3f4f5f6f7f8f9') };
  assert.equal(hex(await subtle.deriveBits(params, key, 336)), '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865');
  const derived = await subtle.deriveKey(params, key, { name: 'HMAC', hash: 'SHA-256', length: 256 }, true, ['sign']);
  assert.equal(hex(await subtle.exportKey('raw', derived)), '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf');
  await assert.rejects(subtle.deriveBits(params, key, 12), 'OperationError');
  await assert.rejects(subtle.deriveBits(params, key, null), 'OperationError');
  await assert.rejects(subtle.deriveBits(params, key, 255 * 256 + 8), 'OperationError');
  await assert.rejects(subtle.importKey('raw', new Uint8Array(1), 'HKDF', true, ['deriveBits']), 'SyntaxError');
});

test('PBKDF2 is that of RFC 6070', async () => {
  const encode = (text) => new TextEncoder().encode(text);
  const key = await subtle.importKey('raw', encode('password'), 'PBKDF2', false, ['deriveBits']);
  const params = { name: 'PBKDF2', hash: 'SHA-1', salt: encode('salt'), iterations: 4096 };
  assert.equal(hex(await subtle.deriveBits(params, key, 160)), '4b007901b765489abead49d926f721d065a429c1');
  await assert.rejects(subtle.deriveBits({ ...params, iterations: 0 }, key, 160), 'OperationError');
  await assert.rejects(subtle.deriveBits({ ...params, iterations: -1 }, key, 160), TypeError);
});

test('HKDF and PBKDF2 derive nothing where that is asked for', async () => {
  const params = { hash: 'SHA-1', salt: new Uint8Array(), info: new Uint8Array(), iterations: 1 };
  const [hkdf, pbkdf2] = await Promise.all(['HKDF', 'PBKDF2'].map((name) => subtle.importKey('raw', new Uint8Array(3), name, false, ['deriveBits'])));
  assert.equal((await subtle.deriveBits({ name: 'HKDF', ...params }, hkdf, 0)).byteLength, 0);
  assert.equal((await subtle.deriveBits({ name: 'PBKDF2', ...params }, pbkdf2, 0)).byteLength, 0);
});

// Web Cryptography, sections 23 to 26: ECDSA, ECDH, Ed25519 and X25519.

const { subtle } = crypto;
const data = new TextEncoder().encode('data');
const sizes = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };

test('every hash signs with every curve', async () => {
  for (const [namedCurve, size] of Object.entries(sizes)) {
    const { privateKey, publicKey } = await subtle.generateKey({ name: 'ECDSA', namedCurve }, false, ['sign', 'verify']);
    assert.deepEqual(publicKey.algorithm, { name: 'ECDSA', namedCurve });
    for (const hash of ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512']) {
      const signature = await subtle.sign({ name: 'ECDSA', hash }, privateKey, data);
      assert.equal(signature.byteLength, size * 2);
      assert.equal(await subtle.verify({ name: 'ECDSA', hash }, publicKey, signature, data), true, `${namedCurve} ${hash}`);
      assert.equal(await subtle.verify({ name: 'ECDSA', hash }, publicKey, signature, new Uint8Array(4)), false);
      assert.equal(await subtle.verify({ name: 'ECDSA', hash }, publicKey, signature.slice(2), data), false);
    }
  }
});

test('both sides have the same bits in common', async () => {
  for (const [algorithm, bits] of [
    [{ name: 'ECDH', namedCurve: 'P-256' }, 256], [{ name: 'ECDH', namedCurve: 'P-384' }, 384], [{ name: 'ECDH', namedCurve: 'P-521' }, 528], [{ name: 'X25519' }, 256],
  ]) {
    const [mine, theirs] = await Promise.all([1, 2].map(() => subtle.generateKey(algorithm, true, ['deriveBits', 'deriveKey'])));
    const { name } = algorithm;
    const all = await subtle.deriveBits({ name, public: theirs.publicKey }, mine.privateKey, null);
    assert.equal(all.byteLength, Math.ceil(bits / 8));
    assert.deepEqual(new Uint8Array(all), new Uint8Array(await subtle.deriveBits({ name, public: mine.publicKey }, theirs.privateKey, bits)));
    const some = new Uint8Array(await subtle.deriveBits({ name, public: theirs.publicKey }, mine.privateKey, 24));
    assert.deepEqual(some, new Uint8Array(all, 0, 3));
    await assert.rejects(subtle.deriveBits({ name, public: theirs.publicKey }, mine.privateKey, bits + 8), 'OperationError');
    await assert.rejects(subtle.deriveBits({ name, public: theirs.privateKey }, mine.privateKey, 8), 'InvalidAccessError');
    await assert.rejects(subtle.deriveBits({ name, public: {} }, mine.privateKey, 8), TypeError);
    const key = await subtle.deriveKey({ name, public: theirs.publicKey }, mine.privateKey, { name: 'AES-CBC', length: 128 }, true, ['encrypt']);
    assert.deepEqual(new Uint8Array(await subtle.exportKey('raw', key)), new Uint8Array(all, 0, 16));
  }
}, { nodeDiffers: 'Node.js 20 has only some of it' });

test('the length need not be given', async () => {
  const pair = await subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits']);
  assert.equal((await subtle.deriveBits({ name: 'ECDH', public: pair.publicKey }, pair.privateKey)).byteLength, 32);
  const odd = new Uint8Array(await subtle.deriveBits({ name: 'ECDH', public: pair.publicKey }, pair.privateKey, 11));
  assert.equal(odd.length, 2);
  assert.equal(odd[1] & 0x1f, 0);
}, { nodeDiffers: 'Node.js 20 wants it' });

test('keys go through every format', async () => {
  for (const [algorithm, formats, open, secret] of [
    [{ name: 'ECDSA', namedCurve: 'P-256' }, ['raw', 'spki'], ['verify'], ['sign']],
    [{ name: 'ECDH', namedCurve: 'P-521' }, ['raw', 'spki'], [], ['deriveBits']],
    [{ name: 'Ed25519' }, ['raw', 'spki'], ['verify'], ['sign']],
    [{ name: 'X25519' }, ['raw', 'spki'], [], ['deriveBits']],
  ]) {
    const pair = await subtle.generateKey(algorithm, true, [...open, ...secret]);
    const openJwk = await subtle.exportKey('jwk', pair.publicKey);
    const secretJwk = await subtle.exportKey('jwk', pair.privateKey);
    assert.equal(openJwk.d, undefined);
    assert.equal(openJwk.x, secretJwk.x);
    for (const format of formats) {
      const again = await subtle.importKey(format, await subtle.exportKey(format, pair.publicKey), algorithm, true, open);
      assert.deepEqual(await subtle.exportKey('jwk', again), openJwk);
    }
    const again = await subtle.importKey('pkcs8', await subtle.exportKey('pkcs8', pair.privateKey), algorithm, true, secret);
    assert.deepEqual(await subtle.exportKey('jwk', again), secretJwk);
    assert.deepEqual(await subtle.exportKey('jwk', await subtle.importKey('jwk', secretJwk, algorithm, true, secret)), secretJwk);
    await assert.rejects(subtle.exportKey('pkcs8', pair.publicKey), 'InvalidAccessError');
    await assert.rejects(subtle.exportKey('spki', pair.privateKey), 'InvalidAccessError');
    await assert.rejects(subtle.exportKey('raw', pair.privateKey), 'InvalidAccessError');
    const other = await subtle.exportKey('jwk', (await subtle.generateKey(algorithm, true, [...open, ...secret])).privateKey);
    await assert.rejects(subtle.importKey('jwk', { ...secretJwk, d: other.d }, algorithm, true, secret), 'DataError');
    await assert.rejects(subtle.importKey('jwk', { ...secretJwk, crv: 'P-384' }, algorithm, true, secret), 'DataError');
    await assert.rejects(subtle.importKey('jwk', { ...secretJwk, x: secretJwk.x.slice(1) }, algorithm, true, secret), 'DataError');
    await assert.rejects(subtle.importKey('raw', new Uint8Array(7), algorithm, true, open), 'DataError');
    await assert.rejects(subtle.importKey('spki', new Uint8Array(7), algorithm, true, open), 'DataError');
  }
}, { nodeDiffers: 'has other errors' });

test('a point may be given compressed', async () => {
  const pair = await subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits']);
  const raw = new Uint8Array(await subtle.exportKey('raw', pair.publicKey));
  assert.equal(raw.length, 65);
  const short = new Uint8Array([2 + (raw[64] & 1), ...raw.subarray(1, 33)]);
  const again = await subtle.importKey('raw', short, { name: 'ECDH', namedCurve: 'P-256' }, true, []);
  assert.deepEqual(new Uint8Array(await subtle.exportKey('raw', again)), raw);
});

test('signatures with Ed25519 are those of RFC 8032', async () => {
  const jwk = { kty: 'OKP', crv: 'Ed25519', d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' };
  const privateKey = await subtle.importKey('jwk', jwk, 'Ed25519', true, ['sign']);
  const signature = new Uint8Array(await subtle.sign('Ed25519', privateKey, new Uint8Array()));
  assert.deepEqual(signature.subarray(0, 4), new Uint8Array([0xe5, 0x56, 0x43, 0x00]));
  const publicKey = await subtle.importKey('jwk', { kty: 'OKP', crv: 'Ed25519', x: jwk.x, alg: 'EdDSA' }, 'Ed25519', true, ['verify']);
  assert.equal(await subtle.verify('Ed25519', publicKey, signature, new Uint8Array()), true);
  assert.equal((await subtle.exportKey('jwk', publicKey)).alg, 'Ed25519');
}, { nodeDiffers: 'writes no alg' });

test('a point of small order has nothing secret in it', async () => {
  const { privateKey } = await subtle.generateKey('X25519', false, ['deriveBits']);
  const zero = await subtle.importKey('raw', new Uint8Array(32), 'X25519', false, []);
  await assert.rejects(subtle.deriveBits({ name: 'X25519', public: zero }, privateKey, 256), 'OperationError');
});

// Web Cryptography, sections 20 to 22: RSASSA-PKCS1-v1_5, RSA-PSS and RSA-OAEP.

const { subtle } = crypto;
const data = new TextEncoder().encode('data');
const algorithm = (name, hash = 'SHA-256') => ({ name, hash, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) });

test('signatures verify and nothing else does', async () => {
  const pair = await subtle.generateKey(algorithm('RSA-PSS'), true, ['sign', 'verify']);
  assert.equal(pair.publicKey.extractable, true);
  assert.equal(pair.privateKey.algorithm.modulusLength, 2048);
  assert.deepEqual(pair.privateKey.algorithm.publicExponent, new Uint8Array([1, 0, 1]));
  assert.deepEqual(pair.privateKey.algorithm.hash, { name: 'SHA-256' });
  const pkcs8 = await subtle.exportKey('pkcs8', pair.privateKey);
  const spki = await subtle.exportKey('spki', pair.publicKey);
  for (const [name, hash, params] of [
    ['RSA-PSS', 'SHA-256', { saltLength: 32 }], ['RSA-PSS', 'SHA-1', { saltLength: 0 }], ['RSA-PSS', 'SHA-512', { saltLength: 10 }],
    ['RSASSA-PKCS1-v1_5', 'SHA-1', {}], ['RSASSA-PKCS1-v1_5', 'SHA-512', {}],
  ]) {
    const privateKey = await subtle.importKey('pkcs8', pkcs8, { name, hash }, false, ['sign']);
    const publicKey = await subtle.importKey('spki', spki, { name, hash }, false, ['verify']);
    const signature = await subtle.sign({ name, ...params }, privateKey, data);
    assert.equal(signature.byteLength, 256);
    assert.equal(await subtle.verify({ name, ...params }, publicKey, signature, data), true, name);
    assert.equal(await subtle.verify({ name, ...params }, publicKey, signature, new Uint8Array(4)), false, name);
    assert.equal(await subtle.verify({ name, ...params }, publicKey, signature.slice(1), data), false, name);
    await assert.rejects(subtle.sign({ name, ...params }, publicKey, data), 'InvalidAccessError');
  }
});

test('what is encrypted is decrypted with the same label', async () => {
  const pair = await subtle.generateKey(algorithm('RSA-OAEP', 'SHA-1'), true, ['encrypt', 'decrypt', 'wrapKey', 'unwrapKey']);
  assert.deepEqual(pair.publicKey.usages, ['encrypt', 'wrapKey']);
  assert.deepEqual(pair.privateKey.usages, ['decrypt', 'unwrapKey']);
  const label = new Uint8Array([7]);
  const sealed = await subtle.encrypt({ name: 'RSA-OAEP', label }, pair.publicKey, data);
  assert.deepEqual(new Uint8Array(await subtle.decrypt({ name: 'RSA-OAEP', label }, pair.privateKey, sealed)), data);
  await assert.rejects(subtle.decrypt('RSA-OAEP', pair.privateKey, sealed), 'OperationError');
  await assert.rejects(subtle.encrypt('RSA-OAEP', pair.publicKey, new Uint8Array(215)), 'OperationError');
});

test('keys go through JSON Web Keys', async () => {
  const pair = await subtle.generateKey(algorithm('RSASSA-PKCS1-v1_5', 'SHA-384'), true, ['sign', 'verify']);
  const jwk = await subtle.exportKey('jwk', pair.privateKey);
  assert.deepEqual(Object.keys(jwk).sort(), ['alg', 'd', 'dp', 'dq', 'e', 'ext', 'key_ops', 'kty', 'n', 'p', 'q', 'qi']);
  assert.equal(jwk.alg, 'RS384');
  assert.equal(jwk.e, 'AQAB');
  const params = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' };
  const again = await subtle.importKey('jwk', jwk, params, true, ['sign']);
  assert.deepEqual(await subtle.exportKey('jwk', again), jwk);
  const signature = await subtle.sign('RSASSA-PKCS1-v1_5', again, data);
  assert.equal(await subtle.verify('RSASSA-PKCS1-v1_5', pair.publicKey, signature, data), true);
  const { d, ...open } = await subtle.exportKey('jwk', pair.publicKey);
  assert.equal(d, undefined);
  await assert.rejects(subtle.importKey('jwk', { ...open, alg: 'RS256' }, params, true, ['verify']), 'DataError');
  await assert.rejects(subtle.importKey('jwk', { ...open, kty: 'EC' }, params, true, ['verify']), 'DataError');
  await assert.rejects(subtle.importKey('jwk', { ...open, use: 'enc' }, params, true, ['verify']), 'DataError');
  await assert.rejects(subtle.importKey('jwk', { ...open, ext: false }, params, true, ['verify']), 'DataError');
  await assert.rejects(subtle.importKey('jwk', { ...open, n: 'a b' }, params, true, ['verify']), 'DataError');
}, { nodeDiffers: 'Node.js 20 checks less of it' });

test('what is no key is refused', async () => {
  const params = { name: 'RSA-PSS', hash: 'SHA-256' };
  await assert.rejects(subtle.importKey('spki', new Uint8Array(10), params, true, ['verify']), 'DataError');
  await assert.rejects(subtle.importKey('raw', new Uint8Array(10), params, true, ['verify']), 'NotSupportedError');
  await assert.rejects(subtle.generateKey({ ...algorithm('RSA-PSS'), publicExponent: new Uint8Array([2]) }, true, ['sign']), 'OperationError');
  await assert.rejects(subtle.generateKey(algorithm('RSA-PSS'), true, ['verify']), 'SyntaxError');
  await assert.rejects(subtle.generateKey(algorithm('RSA-PSS'), true, ['encrypt']), 'SyntaxError');
  await assert.rejects(subtle.generateKey({ ...algorithm('RSA-PSS'), publicExponent: [1, 0, 1] }, true, ['sign']), TypeError);
});

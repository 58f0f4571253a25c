// Web Cryptography, sections 10 and 13: Crypto and CryptoKey.

test('random values fill the array that was given', () => {
  for (const Class of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array]) {
    const array = new Class(64);
    assert.equal(crypto.getRandomValues(array), array);
    assert(array.some((value) => value != 0), Class.name);
  }
  const buffer = new Uint8Array(64);
  crypto.getRandomValues(buffer.subarray(16, 48));
  assert(buffer.subarray(0, 16).every((byte) => byte === 0));
  assert(buffer.subarray(48).every((byte) => byte === 0));
  assert(buffer.subarray(16, 48).some((byte) => byte !== 0));
  assert.equal(crypto.getRandomValues(new Uint8Array(0)).length, 0);
  assert.equal(crypto.getRandomValues(new Uint8Array(65536)).length, 65536);
});

test('what cannot be filled is refused', () => {
  assert.throws(() => crypto.getRandomValues(new Float64Array(1)), 'TypeMismatchError');
  assert.throws(() => crypto.getRandomValues(new DataView(new ArrayBuffer(1))), 'TypeMismatchError');
  assert.throws(() => crypto.getRandomValues(new Uint8Array(65537)), 'QuotaExceededError');
  assert.throws(() => crypto.getRandomValues.call({}, new Uint8Array(1)), TypeError);
});

test('what is no view is a TypeError', () => {
  for (const wrong of [undefined, null, [], {}, new ArrayBuffer(1)]) assert.throws(() => crypto.getRandomValues(wrong), TypeError);
}, { nodeDiffers: 'has a TypeMismatchError' });

test('UUIDs are of version 4, and differ', () => {
  const ids = new Set(Array.from({ length: 50 }, () => crypto.randomUUID()));
  assert.equal(ids.size, 50);
  for (const id of ids) assert(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id), id);
});

test('the interfaces cannot be made', () => {
  assert.throws(() => new Crypto(), TypeError);
  assert.throws(() => new SubtleCrypto(), TypeError);
  assert.throws(() => new CryptoKey(), TypeError);
  assert(crypto instanceof Crypto);
  assert(crypto.subtle instanceof SubtleCrypto);
  assert.equal(crypto.subtle, crypto.subtle);
});

test('a key shows what it is, and is not changed through that', async () => {
  const key = await crypto.subtle.importKey('raw', new Uint8Array(16), 'aes-gcm', true, ['decrypt', 'encrypt', 'decrypt']);
  assert.equal(key.type, 'secret');
  assert.equal(key.extractable, true);
  assert.equal(key.algorithm, key.algorithm);
  assert.deepEqual(key.algorithm, { length: 128, name: 'AES-GCM' });
  assert.deepEqual(key.usages, ['encrypt', 'decrypt']);
  key.algorithm.name = 'AES-CBC';
  key.usages.length = 0;
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: new Uint8Array(12) }, key, new Uint8Array(3));
  assert.equal(sealed.byteLength, 19);
}, { nodeDiffers: 'keeps usages as they were given' });

test('a key can be cloned', async () => {
  const key = await crypto.subtle.importKey('raw', new Uint8Array(16), 'HKDF', false, ['deriveBits']);
  const copy = structuredClone(key);
  assert(copy instanceof CryptoKey);
  assert.equal(copy.algorithm.name, 'HKDF');
  const params = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info: new Uint8Array() };
  const [a, b] = await Promise.all([key, copy].map((each) => crypto.subtle.deriveBits(params, each, 64)));
  assert.deepEqual(new Uint8Array(a), new Uint8Array(b));
});

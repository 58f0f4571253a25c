// Web Cryptography, section 14: SubtleCrypto, what all algorithms have in common.

const { subtle } = crypto;
const bytes = (...list) => new Uint8Array(list);
const gcm = { name: 'AES-GCM', iv: new Uint8Array(12) };
const importGcm = (usages, extractable = true) => subtle.importKey('raw', new Uint8Array(16), 'AES-GCM', extractable, usages);

test('names are told without regard to case, and unknown ones are not supported', async () => {
  assert.equal((await subtle.digest('sha-256', bytes())).byteLength, 32);
  assert.equal((await subtle.digest({ name: 'Sha-1' }, bytes())).byteLength, 20);
  await assert.rejects(subtle.digest('MD5', bytes()), 'NotSupportedError');
  await assert.rejects(subtle.digest('AES-GCM', bytes()), 'NotSupportedError');
  await assert.rejects(subtle.generateKey('SHA-1', true, []), 'NotSupportedError');
});

test('parameters that are missing or wrong reject with a TypeError', async () => {
  await assert.rejects(subtle.digest('SHA-1'), TypeError);
  await assert.rejects(subtle.digest({}, bytes()), TypeError);
  await assert.rejects(subtle.digest('SHA-1', 'text'), TypeError);
  await assert.rejects(subtle.encrypt({ name: 'AES-GCM' }, await importGcm(['encrypt']), bytes()), TypeError);
  await assert.rejects(subtle.encrypt(gcm, {}, bytes()), TypeError);
  await assert.rejects(subtle.importKey('other', bytes(1), 'HMAC', true, ['sign']), TypeError);
  await assert.rejects(subtle.importKey('raw', bytes(1), { name: 'HMAC', hash: 'SHA-1' }, true, ['fly']), TypeError);
  await assert.rejects(subtle.importKey('jwk', bytes(1), { name: 'HMAC', hash: 'SHA-1' }, true, ['sign']), TypeError);
  await assert.rejects(SubtleCrypto.prototype.digest.call({}, 'SHA-1', bytes()), TypeError);
}, { nodeDiffers: 'Node.js 20 has other errors' });

test('hashes are those of FIPS 180', async () => {
  const hex = async (name) => Array.from(new Uint8Array(await subtle.digest(name, new TextEncoder().encode('abc'))), (b) => b.toString(16).padStart(2, '0')).join('');
  assert.equal(await hex('SHA-1'), 'a9993e364706816aba3e25717850c26c9cd0d89d');
  assert.equal(await hex('SHA-256'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  assert((await hex('SHA-384')).startsWith('cb00753f45a35e8bb5a03d699ac65007'));
  assert((await hex('SHA-512')).startsWith('ddaf35a193617abacc417349ae204131'));
});

test('data that is changed during the call is what it was', async () => {
  const data = bytes(1, 2, 3);
  const promise = subtle.digest('SHA-1', data);
  data.fill(0);
  assert.deepEqual(new Uint8Array(await promise), new Uint8Array(await subtle.digest('SHA-1', bytes(1, 2, 3))));
});

test('a key does what it is for, and no other algorithm', async () => {
  await assert.rejects(subtle.encrypt(gcm, await importGcm(['decrypt']), bytes()), 'InvalidAccessError');
  await assert.rejects(subtle.encrypt({ name: 'AES-CBC', iv: new Uint8Array(16) }, await importGcm(['encrypt']), bytes()), 'InvalidAccessError');
  await assert.rejects(subtle.exportKey('raw', await importGcm(['encrypt'], false)), 'InvalidAccessError');
  await assert.rejects(importGcm([]), 'SyntaxError');
  await assert.rejects(importGcm(['sign']), 'SyntaxError');
}, { nodeDiffers: 'names the error otherwise' });

test('a promise is settled later, never during the call', async () => {
  const order = [];
  const promise = subtle.digest('SHA-1', bytes()).then(() => order.push('digest'));
  Promise.resolve().then(() => order.push('microtask'));
  await promise;
  assert.deepEqual(order, ['microtask', 'digest']);
});

test('a key is wrapped with every format, and unwrapped', async () => {
  const wrapper = await subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['wrapKey', 'unwrapKey']);
  const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  for (const [format, key, usages] of [['spki', pair.publicKey, ['verify']], ['pkcs8', pair.privateKey, ['sign']], ['jwk', pair.privateKey, ['sign']], ['raw', pair.publicKey, ['verify']]]) {
    const wrapped = await subtle.wrapKey(format, key, wrapper, gcm);
    const again = await subtle.unwrapKey(format, wrapped, wrapper, gcm, { name: 'ECDSA', namedCurve: 'P-256' }, true, usages);
    assert.equal(again.type, key.type);
    assert.deepEqual(await subtle.exportKey('jwk', again), await subtle.exportKey('jwk', key));
  }
  const kw = await subtle.generateKey({ name: 'AES-KW', length: 128 }, false, ['wrapKey', 'unwrapKey']);
  const secret = await subtle.importKey('raw', bytes(...Array(16).keys()), { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
  const wrapped = await subtle.wrapKey('raw', secret, kw, 'AES-KW');
  assert.equal(wrapped.byteLength, 24);
  const again = await subtle.unwrapKey('raw', wrapped, kw, 'AES-KW', { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
  assert.deepEqual(new Uint8Array(await subtle.exportKey('raw', again)), bytes(...Array(16).keys()));
  new Uint8Array(wrapped)[3] ^= 1;
  await assert.rejects(subtle.unwrapKey('raw', wrapped, kw, 'AES-KW', { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']), 'OperationError');
});

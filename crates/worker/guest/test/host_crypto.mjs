// The worker's Web Cryptography (the table is in src/crypto/worker.ts), written once more with node:crypto for tests: `perform` answers a
// Uint8Array or text, and throws errors whose `name` is the platform's.
//
// Seeds are not used where Node.js draws its own randomness.

import {
  constants, ECDH, createCipheriv, createDecipheriv, createECDH, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman,
  generateKeyPairSync, hkdfSync, pbkdf2Sync, privateDecrypt, publicEncrypt, sign, timingSafeEqual, verify,
} from 'node:crypto';

const iterationsMax = 1_000_000;
const modulusBitsMax = 8192;

function failure(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

/** Whatever Node.js says is wrong becomes an error of this name. */
function attempt(name, work) {
  try {
    return work();
  } catch (error) {
    throw failure(name, error.message);
  }
}

const hashes = { 'SHA-1': 'sha1', 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' };
const curves = {
  'P-256': { node: 'prime256v1', size: 32 },
  'P-384': { node: 'secp384r1', size: 48 },
  'P-521': { node: 'secp521r1', size: 66 },
};

const operations = {
  digest: ({ hash }, [data]) => createHash(hashes[hash]).update(data).digest(),
  'hmac.sign': ({ hash }, [key, data]) => createHmac(hashes[hash], key).update(data).digest(),
  'hmac.verify': ({ hash }, [key, signature, data]) => {
    const expected = createHmac(hashes[hash], key).update(data).digest();
    return String(expected.length === signature.length && timingSafeEqual(expected, signature));
  },
  'aes.encrypt': (params, [key, iv, data, additional]) => attempt('OperationError', () => {
    if (params.mode === 'ctr') return counterMode(key, iv, params.counter, data);
    const options = params.mode === 'gcm' ? { authTagLength: params.tag / 8 } : undefined;
    const cipher = createCipheriv(`aes-${key.length * 8}-${params.mode}`, key, iv, options);
    if (params.mode === 'gcm') cipher.setAAD(additional);
    const text = Buffer.concat([cipher.update(data), cipher.final()]);
    return params.mode === 'gcm' ? Buffer.concat([text, cipher.getAuthTag()]) : text;
  }),
  'aes.decrypt': (params, [key, iv, data, additional]) => attempt('OperationError', () => {
    if (params.mode === 'ctr') return counterMode(key, iv, params.counter, data);
    const tag = params.mode === 'gcm' ? params.tag / 8 : 0;
    const cipher = createDecipheriv(`aes-${key.length * 8}-${params.mode}`, key, iv, tag > 0 ? { authTagLength: tag } : undefined);
    if (tag > 0) {
      cipher.setAAD(additional);
      cipher.setAuthTag(data.subarray(data.length - tag));
    }
    return Buffer.concat([cipher.update(data.subarray(0, data.length - tag)), cipher.final()]);
  }),
  'aes.wrap': (_params, [key, data]) => attempt('OperationError', () => {
    const cipher = createCipheriv(`id-aes${key.length * 8}-wrap`, key, Buffer.alloc(8, 0xa6));
    return Buffer.concat([cipher.update(data), cipher.final()]);
  }),
  'aes.unwrap': (_params, [key, data]) => attempt('OperationError', () => {
    const cipher = createDecipheriv(`id-aes${key.length * 8}-wrap`, key, Buffer.alloc(8, 0xa6));
    return Buffer.concat([cipher.update(data), cipher.final()]);
  }),
  hkdf: ({ hash, length }, [key, salt, info]) => attempt('OperationError', () => (length === 0 ? Buffer.alloc(0) : hkdfLong(hash, length, key, salt, info))),
  pbkdf2: ({ hash, iterations, length }, [password, salt]) => {
    if (iterations > iterationsMax) throw failure('OperationError', 'too many iterations');
    return length === 0 ? Buffer.alloc(0) : pbkdf2Sync(password, salt, iterations, length, hashes[hash]);
  },

  'ec.generate': ({ curve }) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: curves[curve].node });
    return scalarAndPoint(privateKey, curve);
  },
  'ec.import': ({ curve, format }, buffers) => attempt('DataError', () => importCurve(curve, format, buffers)),
  'ec.export': ({ curve, format }, [material]) =>
    format === 'spki' ? ecPublic(curve, material).export({ format: 'der', type: 'spki' }) : ecPrivate(curve, material).export({ format: 'der', type: 'pkcs8' }),
  'ec.derive': ({ curve }, [mine, theirs]) =>
    attempt('OperationError', () => diffieHellman({ privateKey: ecPrivate(curve, mine), publicKey: ecPublic(curve, theirs) })),
  'ecdsa.sign': ({ curve, hash }, [key, data]) => sign(hashes[hash], data, { key: ecPrivate(curve, key), dsaEncoding: 'ieee-p1363' }),
  'ecdsa.verify': ({ curve, hash }, [key, signature, data]) => {
    if (signature.length !== curves[curve].size * 2) return 'false';
    return String(verify(hashes[hash], data, { key: ecPublic(curve, key), dsaEncoding: 'ieee-p1363' }, signature));
  },

  'okp.generate': ({ curve }) => seedAndPublic(generateKeyPairSync(curve.toLowerCase()).privateKey),
  'okp.import': ({ curve, format }, buffers) => attempt('DataError', () => importOkp(curve, format, buffers)),
  'okp.export': ({ curve, format }, [material]) =>
    format === 'spki' ? okpPublic(curve, material).export({ format: 'der', type: 'spki' }) : okpPrivate(curve, material).export({ format: 'der', type: 'pkcs8' }),
  'okp.derive': (_params, [mine, theirs]) =>
    attempt('OperationError', () => diffieHellman({ privateKey: okpPrivate('X25519', mine), publicKey: okpPublic('X25519', theirs) })),
  'ed25519.sign': (_params, [key, data]) => sign(null, data, okpPrivate('Ed25519', key)),
  'ed25519.verify': (_params, [key, signature, data]) => String(verify(null, data, okpPublic('Ed25519', key), signature)),

  'rsa.generate': ({ bits }, [_seed, exponent]) => attempt('OperationError', () => {
    if (bits > modulusBitsMax) throw new Error('the modulus is too long');
    const publicExponent = Number(`0x${Buffer.from(exponent).toString('hex') || '0'}`);
    return generateKeyPairSync('rsa', { modulusLength: bits, publicExponent }).privateKey.export({ format: 'der', type: 'pkcs8' });
  }),
  'rsa.import': ({ format }, buffers) => attempt('DataError', () => importRsa(format, buffers)),
  'rsa.public': (_params, [key]) => createPublicKey(rsaPrivate(key)).export({ format: 'der', type: 'spki' }),
  'rsa.numbers': ({ private: isPrivate }, [key]) => {
    const jwk = (isPrivate ? rsaPrivate(key) : rsaPublic(key)).export({ format: 'jwk' });
    const numbers = {};
    for (const name of ['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi']) {
      if (jwk[name] !== undefined) numbers[name] = Buffer.from(jwk[name], 'base64url').toString('hex').replace(/^0+/, '');
    }
    return JSON.stringify(numbers);
  },
  'rsa.sign': ({ scheme, hash, salt }, [key, data]) =>
    attempt('OperationError', () => sign(hashes[hash], data, { key: rsaPrivate(key), ...padding(scheme, salt) })),
  'rsa.verify': ({ scheme, hash, salt }, [key, signature, data]) => {
    try {
      return String(verify(hashes[hash], data, { key: rsaPublic(key), ...padding(scheme, salt) }, signature));
    } catch {
      return 'false';
    }
  },
  'rsa.encrypt': ({ hash }, [key, data, label]) =>
    attempt('OperationError', () => publicEncrypt({ key: rsaPublic(key), padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hashes[hash], oaepLabel: label }, data)),
  'rsa.decrypt': ({ hash }, [key, data, label]) =>
    attempt('OperationError', () => privateDecrypt({ key: rsaPrivate(key), padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hashes[hash], oaepLabel: label }, data)),
};

/** A counter of fewer bits than a block returns to zero by itself, which Node.js's does not. */
function counterMode(key, counter, bits, data) {
  const cipher = (from, part) => createCipheriv(`aes-${key.length * 8}-ctr`, key, from).update(part);
  const blocks = BigInt(Math.ceil(data.length / 16));
  const modulus = 1n << BigInt(bits);
  if (blocks > modulus) throw new Error('the counter would repeat');
  const start = BigInt(`0x${Buffer.from(counter).toString('hex')}`);
  const left = modulus - (start % modulus);
  if (blocks <= left) return cipher(counter, data);
  const cut = Number(left) * 16;
  const again = Buffer.from((start - (start % modulus)).toString(16).padStart(32, '0'), 'hex');
  return Buffer.concat([cipher(counter, data.subarray(0, cut)), cipher(again, data.subarray(cut))]);
}

/** HKDF itself, because Node.js takes no `info` beyond 1,024 bytes. */
function hkdfLong(hash, length, key, salt, info) {
  const name = hashes[hash];
  if (info.length <= 1024) return Buffer.from(hkdfSync(name, key, salt, info, length));
  const size = createHash(name).digest().length;
  if (length > 255 * size) throw new Error('too long');
  const pseudorandom = createHmac(name, salt.length === 0 ? Buffer.alloc(size) : salt).update(key).digest();
  const blocks = [];
  let last = Buffer.alloc(0);
  for (let i = 1; blocks.length * size < length; i++) {
    last = createHmac(name, pseudorandom).update(last).update(info).update(Buffer.from([i])).digest();
    blocks.push(last);
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const base64url = (bytes) => Buffer.from(bytes).toString('base64url');
const unbase64 = (text) => Buffer.from(text, 'base64url');

// Curves of NIST: a private key is the scalar and then the point.

function ecJwk(curve, point) {
  const { size } = curves[curve];
  return { kty: 'EC', crv: curve, x: base64url(point.subarray(1, 1 + size)), y: base64url(point.subarray(1 + size)) };
}
function ecPublic(curve, point) {
  return createPublicKey({ key: ecJwk(curve, point), format: 'jwk' });
}
function ecPrivate(curve, material) {
  const { size } = curves[curve];
  return createPrivateKey({ key: { ...ecJwk(curve, material.subarray(size)), d: base64url(material.subarray(0, size)) }, format: 'jwk' });
}
function pointOf(key, curve) {
  const jwk = key.export({ format: 'jwk' });
  if (jwk.crv !== curve) throw new Error(`the key is not of ${curve}`);
  return Buffer.concat([Buffer.from([4]), unbase64(jwk.x), unbase64(jwk.y)]);
}
function scalarAndPoint(key, curve) {
  const point = pointOf(key, curve);
  return Buffer.concat([unbase64(key.export({ format: 'jwk' }).d), point]);
}
/** A point uncompressed, if it is on the curve. */
function uncompressed(curve, point) {
  return ECDH.convertKey(point, curves[curve].node, undefined, undefined, 'uncompressed');
}

function importCurve(curve, format, buffers) {
  const { size, node } = curves[curve];
  if (format === 'raw') return pointOf(ecPublic(curve, uncompressed(curve, buffers[0])), curve);
  if (format === 'spki') {
    const key = createPublicKey({ key: Buffer.from(buffers[0]), format: 'der', type: 'spki' });
    if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails.namedCurve !== node) throw new Error(`the key is not of ${curve}`);
    return pointOf(key, curve);
  }
  if (format === 'pkcs8') {
    const key = createPrivateKey({ key: Buffer.from(buffers[0]), format: 'der', type: 'pkcs8' });
    if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails.namedCurve !== node) throw new Error(`the key is not of ${curve}`);
    return scalarAndPoint(key, curve);
  }
  const point = Buffer.concat([Buffer.from([4]), ...buffers.slice(0, 2)]);
  if (buffers.length === 2) return pointOf(ecPublic(curve, point), curve);
  const ecdh = createECDH(node);
  ecdh.setPrivateKey(Buffer.from(buffers[2]));
  if (!ecdh.getPublicKey().equals(point)) throw new Error('the two halves do not belong together');
  return Buffer.concat([Buffer.from(buffers[2]), point]).subarray(0, size * 3 + 1);
}

// Curve25519: a private key is the seed and then the public key.

function okpPublic(curve, bytes) {
  return createPublicKey({ key: { kty: 'OKP', crv: curve, x: base64url(bytes.subarray(0, 32)) }, format: 'jwk' });
}
function okpPrivate(curve, material) {
  return createPrivateKey({ key: { kty: 'OKP', crv: curve, d: base64url(material.subarray(0, 32)), x: base64url(material.subarray(32)) }, format: 'jwk' });
}
function seedAndPublic(key) {
  const jwk = key.export({ format: 'jwk' });
  return Buffer.concat([unbase64(jwk.d), unbase64(jwk.x)]);
}
function fromSeed(curve, seed) {
  const oid = curve === 'Ed25519' ? 0x70 : 0x6e;
  const der = Buffer.concat([Buffer.from([0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, oid, 0x04, 0x22, 0x04, 0x20]), seed]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

function importOkp(curve, format, buffers) {
  const type = curve.toLowerCase();
  const wanted = (key) => {
    if (key.asymmetricKeyType !== type) throw new Error(`the key is not of ${curve}`);
    return key;
  };
  if (format === 'raw') {
    if (buffers[0].length !== 32) throw new Error('the key has not 32 bytes');
    return buffers[0];
  }
  if (format === 'spki') return unbase64(wanted(createPublicKey({ key: Buffer.from(buffers[0]), format: 'der', type: 'spki' })).export({ format: 'jwk' }).x);
  if (format === 'pkcs8') return seedAndPublic(wanted(createPrivateKey({ key: Buffer.from(buffers[0]), format: 'der', type: 'pkcs8' })));
  if (buffers.length === 1) return buffers[0];
  const both = seedAndPublic(fromSeed(curve, Buffer.from(buffers[1])));
  if (!both.subarray(32).equals(Buffer.from(buffers[0]))) throw new Error('the two halves do not belong together');
  return both;
}

// RSA

function rsaPrivate(der) {
  return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
}
function rsaPublic(der) {
  return createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
}
function padding(scheme, salt) {
  return scheme === 'pss'
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: salt }
    : { padding: constants.RSA_PKCS1_PADDING };
}

function importRsa(format, buffers) {
  let key;
  if (format === 'spki') key = rsaPublic(buffers[0]);
  else if (format === 'pkcs8') key = rsaPrivate(buffers[0]);
  else {
    const [n, e, d, p, q, dp, dq, qi] = buffers.map(base64url);
    const isPrivate = d !== undefined;
    key = (isPrivate ? createPrivateKey : createPublicKey)({ key: isPrivate ? { kty: 'RSA', n, e, d, p, q, dp, dq, qi } : { kty: 'RSA', n, e }, format: 'jwk' });
  }
  if (key.asymmetricKeyType !== 'rsa') throw new Error('the key is not of RSA');
  if (key.asymmetricKeyDetails.modulusLength > modulusBitsMax) throw failure('OperationError', 'the modulus is too long');
  return key.export({ format: 'der', type: key.type === 'private' ? 'pkcs8' : 'spki' });
}

/** One operation; buffers are Uint8Arrays. */
export function perform(operation, params, buffers) {
  const work = operations[operation];
  if (work === undefined) throw failure('NotSupportedError', `no operation ${operation}`);
  const answer = work(JSON.parse(params), buffers.map((buffer) => Buffer.from(buffer)));
  return typeof answer === 'string' ? answer : new Uint8Array(answer);
}

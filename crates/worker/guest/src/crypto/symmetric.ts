// AES, HMAC, HKDF and PBKDF2 (Web Cryptography, sections 27 to 33).

import { newDOMException } from '../webidl.ts';
import { bytesOfMember, checkJwk, toBase64url, writeJwk, type Jwk } from './jwk.ts';
import { dataError, intersection, requireUsages, unsupported, type KeyData, type KeyFormat, type Usage } from './keys.ts';
import type { Family } from './families.ts';
import type { Params } from './params.ts';
import { bytesBy, random, textBy, type Bytes } from './worker.ts';

const NativeUint8Array = Uint8Array;

function operationError(message: string): Error {
  return newDOMException(message, 'OperationError');
}

// AES

const encryption: readonly Usage[] = ['encrypt', 'decrypt', 'wrapKey', 'unwrapKey'];
const wrapping: readonly Usage[] = ['wrapKey', 'unwrapKey'];

function isAesLength(bits: number): boolean {
  return bits === 128 || bits === 192 || bits === 256;
}

function aes(mode: 'cbc' | 'ctr' | 'gcm' | 'kw', allowed: readonly Usage[]): Family {
  const family: Family = {
    generate(params, extractable, usages) {
      requireUsages(usages, allowed, params.name);
      const length = params.length as number;
      if (!isAesLength(length)) throw operationError(`AES has no keys of ${length} bits`);
      return aesKey(params.name, random(length / 8), extractable, intersection(usages, allowed));
    },
    import(format, given, params, extractable, usages) {
      requireUsages(usages, allowed, params.name);
      let material: Bytes;
      if (format === 'raw') material = given as Bytes;
      else if (format === 'jwk') material = bytesOfMember(given as Jwk, 'k');
      else throw unsupported(`A key of ${params.name} as ${format}`);
      if (format === 'jwk' && (given as Jwk).kty !== 'oct') throw dataError("The JSON Web Key's kty is not oct");
      if (!isAesLength(material.length * 8)) throw dataError(`AES has no keys of ${material.length} bytes`);
      if (format === 'jwk') checkJwk(given as Jwk, 'oct', 'enc', [aesAlg(material, mode)], extractable, usages);
      return aesKey(params.name, material, extractable, intersection(usages, allowed));
    },
    export: exportSecret((key) => aesAlg(key.material, mode)),
    keyLength(params) {
      const length = params.length as number;
      if (!isAesLength(length)) throw operationError(`AES has no keys of ${length} bits`);
      return length;
    },
  };
  if (mode === 'kw') {
    family.wrap = (_params, key, data) => {
      if (data.length % 8 !== 0 || data.length < 16) throw operationError('AES-KW wraps multiples of 8 bytes, at least 16');
      return bytesBy('aes.wrap', {}, [key.material, data]);
    };
    family.unwrap = (_params, key, data) => bytesBy('aes.unwrap', {}, [key.material, data]);
  } else {
    family.encrypt = (params, key, data) => cipher('aes.encrypt', mode, params, key, data);
    family.decrypt = (params, key, data) => cipher('aes.decrypt', mode, params, key, data);
  }
  return family;
}

function aesKey(name: string, material: Bytes, extractable: boolean, usages: Usage[]): KeyData {
  return { type: 'secret', extractable, algorithm: { name, length: material.length * 8 }, usages, material };
}

function aesAlg(material: Bytes, mode: string): string {
  return `A${material.length * 8}${mode === 'kw' ? 'KW' : mode === 'cbc' ? 'CBC' : mode === 'ctr' ? 'CTR' : 'GCM'}`;
}

function exportSecret(alg: (key: KeyData) => string): NonNullable<Family['export']> {
  return (format: KeyFormat, key: KeyData) => {
    if (format === 'raw') return key.material;
    if (format === 'jwk') return writeJwk(key, { kty: 'oct', k: toBase64url(key.material), alg: alg(key) });
    throw unsupported(`A key of ${key.algorithm.name} as ${format}`);
  };
}

const noBytes = new NativeUint8Array();
const fullTag = 128;

function cipher(operation: string, mode: 'cbc' | 'ctr' | 'gcm', params: Params, key: KeyData, data: Bytes): Bytes {
  if (mode === 'cbc') {
    const iv = params.iv as Bytes;
    if (iv.length !== 16) throw operationError('The initialization vector of AES-CBC has 16 bytes');
    return bytesBy(operation, { mode }, [key.material, iv, data, noBytes]);
  }
  if (mode === 'ctr') {
    const counter = params.counter as Bytes;
    const bits = params.length as number;
    if (counter.length !== 16) throw operationError('The counter of AES-CTR has 16 bytes');
    if (bits < 1 || bits > 128) throw operationError('The counter of AES-CTR has 1 to 128 bits');
    return bytesBy(operation, { mode, counter: bits }, [key.material, counter, data, noBytes]);
  }
  const tag = params.tagLength ?? fullTag;
  if (tag !== 32 && tag !== 64 && (tag < 96 || tag > 128 || tag % 8 !== 0)) throw operationError(`AES-GCM has no tags of ${tag} bits`);
  if (operation === 'aes.decrypt' && data.length < tag / 8) throw operationError('The data is shorter than its tag');
  return bytesBy(operation, { mode, tag }, [key.material, params.iv as Bytes, data, params.additionalData ?? noBytes]);
}

export const aesCbc = aes('cbc', encryption);
export const aesCtr = aes('ctr', encryption);
export const aesGcm = aes('gcm', encryption);
export const aesKw = aes('kw', wrapping);

// HMAC

const signing: readonly Usage[] = ['sign', 'verify'];

/** The key length, in bits, where none is given: the block size of the hash. */
function blockBits(hash: string): number {
  return hash === 'SHA-1' || hash === 'SHA-256' ? 512 : 1024;
}

function hmacAlg(key: KeyData): string {
  const hash = key.algorithm.hash;
  return hash === 'SHA-1' ? 'HS1' : hash === 'SHA-256' ? 'HS256' : hash === 'SHA-384' ? 'HS384' : 'HS512';
}

// Keys are drawn in one piece, and the worker gives so many random bytes at once.
const hmacBitsMax = 65536 * 8;

export const hmac: Family = {
  generate(params, extractable, usages) {
    requireUsages(usages, signing, 'HMAC');
    const length = params.length ?? blockBits(params.hash as string);
    if (length === 0 || length > hmacBitsMax) throw operationError(`HMAC has no keys of ${length} bits`);
    const material = random((length + 7) >> 3);
    dropBits(material, length);
    const algorithm = { name: 'HMAC', hash: params.hash as string, length };
    return { type: 'secret', extractable, algorithm, usages: intersection(usages, signing), material };
  },
  import(format, given, params, extractable, usages) {
    requireUsages(usages, signing, 'HMAC');
    let material: Bytes;
    if (format === 'raw') material = given as Bytes;
    else if (format === 'jwk') material = bytesOfMember(given as Jwk, 'k');
    else throw unsupported(`A key of HMAC as ${format}`);
    const bits = material.length * 8;
    if (bits === 0) throw dataError('A key of HMAC is not empty');
    const length = params.length ?? bits;
    if (length > bits || length <= bits - 8) throw dataError(`The key has not ${length} bits`);
    const key: KeyData = {
      type: 'secret', extractable, algorithm: { name: 'HMAC', hash: params.hash as string, length }, usages: intersection(usages, signing), material,
    };
    if (format === 'jwk') checkJwk(given as Jwk, 'oct', 'sig', [hmacAlg(key)], extractable, usages);
    return key;
  },
  export: exportSecret(hmacAlg),
  keyLength(params) {
    const length = params.length ?? blockBits(params.hash as string);
    if (length === 0) throw new TypeError('HMAC has no keys of 0 bits');
    return length;
  },
  sign: (_params, key, data) => bytesBy('hmac.sign', { hash: key.algorithm.hash }, [key.material, data]),
  verify: (_params, key, signature, data) => textBy('hmac.verify', { hash: key.algorithm.hash }, [key.material, signature, data]) === 'true',
};

/** Clears what the last byte has beyond the length. */
export function dropBits(bytes: Bytes, bits: number): void {
  const beyond = bytes.length * 8 - bits;
  if (beyond > 0 && beyond < 8) bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) & (0xff << beyond);
}

// HKDF and PBKDF2

const derivation: readonly Usage[] = ['deriveKey', 'deriveBits'];

function deriving(derive: (params: Params, key: KeyData, bytes: number) => Bytes): Family {
  return {
    import(format, given, params, extractable, usages) {
      if (format !== 'raw') throw unsupported(`A key of ${params.name} as ${format}`);
      requireUsages(usages, derivation, params.name);
      if (extractable) throw newDOMException(`A key of ${params.name} is not extractable`, 'SyntaxError');
      return {
        type: 'secret', extractable: false, algorithm: { name: params.name }, usages: intersection(usages, derivation), material: given as Bytes,
      };
    },
    keyLength: () => null,
    derive(params, key, length) {
      if (length === null || length % 8 !== 0) throw operationError('The length of what is derived is a multiple of 8 bits');
      return derive(params, key, length / 8);
    },
  };
}

export const hkdf = deriving((params, key, length) =>
  bytesBy('hkdf', { hash: params.hash, length }, [key.material, params.salt as Bytes, params.info as Bytes]));

export const pbkdf2 = deriving((params, key, length) => {
  if (params.iterations === 0) throw operationError('PBKDF2 has at least one iteration');
  if (length === 0) return new NativeUint8Array(0);
  return bytesBy('pbkdf2', { hash: params.hash, iterations: params.iterations, length }, [key.material, params.salt as Bytes]);
});

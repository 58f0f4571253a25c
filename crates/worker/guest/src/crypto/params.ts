// Algorithms as programs name them (Web Cryptography, section 18.4: normalization), and the dictionaries of their parameters.

import { copyOf, stringToLowerCase, typedArrayName, isView } from '../primordials.ts';
import {
  copyBufferSource, dictionary, isObject, member, newDOMException, toBufferSource, toDOMString, toUnsignedLong, toUnsignedShort,
} from '../webidl.ts';
import { toKey, type CryptoKey } from './keys.ts';
import type { Bytes } from './worker.ts';

export type Operation =
  | 'digest' | 'generateKey' | 'importKey' | 'sign' | 'verify' | 'encrypt' | 'decrypt' | 'deriveBits' | 'wrapKey' | 'unwrapKey' | 'keyLength';

/** An algorithm normalized: its name as the standard writes it, and what the operation takes. Members that it has not are absent. */
export interface Params {
  name: string;
  hash?: string;
  length?: number;
  namedCurve?: string;
  modulusLength?: number;
  publicExponent?: Bytes;
  saltLength?: number;
  label?: Bytes;
  counter?: Bytes;
  iv?: Bytes;
  additionalData?: Bytes;
  tagLength?: number;
  public?: CryptoKey;
  salt?: Bytes;
  info?: Bytes;
  iterations?: number;
}

export type AlgorithmIdentifier = string | object;

type Dict = Record<string, unknown>;
type Reader = (dict: Dict, name: string) => Params;

/** The union of an object and a string. */
export function toAlgorithm(value: unknown): AlgorithmIdentifier {
  return isObject(value) ? value : toDOMString(value);
}

function required<T>(dict: Dict, key: string, convert: (value: unknown) => T): T {
  const value = member(dict, key, convert);
  if (value === undefined) throw new TypeError(`The algorithm's parameter '${key}' is missing`);
  return value;
}

const toBytes = (value: unknown): Bytes => copyBufferSource(value, "A parameter of the algorithm");
const toOctet = (value: unknown): number => {
  const number = toUnsignedShort(value, 'enforce');
  if (number > 255) throw new TypeError(`${number} is outside the range from 0 to 255`);
  return number;
};
const toShort = (value: unknown): number => toUnsignedShort(value, 'enforce');
const toLong = (value: unknown): number => toUnsignedLong(value, 'enforce');
const toHash = (value: unknown): string => normalize('digest', toAlgorithm(value)).name;

function toBigInteger(value: unknown): Bytes {
  if (!isView(value) || typedArrayName(value) !== 'Uint8Array') throw new TypeError('The exponent is not a Uint8Array');
  return copyOf(toBufferSource(value, 'The exponent'));
}

const nothing: Reader = (_dict, name) => ({ name });
const length: Reader = (dict, name) => ({ name, length: required(dict, 'length', toShort) });
const curve: Reader = (dict, name) => ({ name, namedCurve: required(dict, 'namedCurve', toDOMString) });
const hash: Reader = (dict, name) => ({ name, hash: required(dict, 'hash', toHash) });
const hashLength: Reader = (dict, name) => {
  const params: Params = { name, hash: required(dict, 'hash', toHash) };
  const bits = member(dict, 'length', toLong);
  if (bits !== undefined) params.length = bits;
  return params;
};
const rsaGenerate: Reader = (dict, name) => {
  const modulusLength = required(dict, 'modulusLength', toLong);
  const publicExponent = required(dict, 'publicExponent', toBigInteger);
  return { name, modulusLength, publicExponent, hash: required(dict, 'hash', toHash) };
};
const pss: Reader = (dict, name) => ({ name, saltLength: required(dict, 'saltLength', toLong) });
const oaep: Reader = (dict, name) => {
  const label = member(dict, 'label', toBytes);
  return label === undefined ? { name } : { name, label };
};
const ctr: Reader = (dict, name) => ({ name, counter: required(dict, 'counter', toBytes), length: required(dict, 'length', toOctet) });
const cbc: Reader = (dict, name) => ({ name, iv: required(dict, 'iv', toBytes) });
const gcm: Reader = (dict, name) => {
  const params: Params = { name };
  const additionalData = member(dict, 'additionalData', toBytes);
  if (additionalData !== undefined) params.additionalData = additionalData;
  params.iv = required(dict, 'iv', toBytes);
  const tagLength = member(dict, 'tagLength', toOctet);
  if (tagLength !== undefined) params.tagLength = tagLength;
  return params;
};
const exchange: Reader = (dict, name) => ({ name, public: required(dict, 'public', toKey) });
const hkdf: Reader = (dict, name) => ({
  name, hash: required(dict, 'hash', toHash), info: required(dict, 'info', toBytes), salt: required(dict, 'salt', toBytes),
});
const pbkdf2: Reader = (dict, name) => ({
  name, hash: required(dict, 'hash', toHash), iterations: required(dict, 'iterations', toLong), salt: required(dict, 'salt', toBytes),
});

type Readers = Partial<Record<Operation, Reader>>;
const digests: Readers = { digest: nothing };
const rsaSignature: Readers = { generateKey: rsaGenerate, importKey: hash, sign: nothing, verify: nothing };
const aes = (parameters: Reader): Readers => ({
  generateKey: length, importKey: nothing, keyLength: length, encrypt: parameters, decrypt: parameters,
});

// By the name in lower case: the name as the standard writes it, and how the parameters of each operation are read.
const registry = {
  __proto__: null,
  'sha-1': ['SHA-1', digests],
  'sha-256': ['SHA-256', digests],
  'sha-384': ['SHA-384', digests],
  'sha-512': ['SHA-512', digests],
  'rsassa-pkcs1-v1_5': ['RSASSA-PKCS1-v1_5', rsaSignature],
  'rsa-pss': ['RSA-PSS', { ...rsaSignature, sign: pss, verify: pss }],
  'rsa-oaep': ['RSA-OAEP', { generateKey: rsaGenerate, importKey: hash, encrypt: oaep, decrypt: oaep }],
  ecdsa: ['ECDSA', { generateKey: curve, importKey: curve, sign: hash, verify: hash }],
  ecdh: ['ECDH', { generateKey: curve, importKey: curve, deriveBits: exchange }],
  ed25519: ['Ed25519', { generateKey: nothing, importKey: nothing, sign: nothing, verify: nothing }],
  x25519: ['X25519', { generateKey: nothing, importKey: nothing, deriveBits: exchange }],
  'aes-ctr': ['AES-CTR', aes(ctr)],
  'aes-cbc': ['AES-CBC', aes(cbc)],
  'aes-gcm': ['AES-GCM', aes(gcm)],
  'aes-kw': ['AES-KW', { generateKey: length, importKey: nothing, keyLength: length, wrapKey: nothing, unwrapKey: nothing }],
  hmac: ['HMAC', { generateKey: hashLength, importKey: hashLength, keyLength: hashLength, sign: nothing, verify: nothing }],
  hkdf: ['HKDF', { importKey: nothing, deriveBits: hkdf, keyLength: nothing }],
  pbkdf2: ['PBKDF2', { importKey: nothing, deriveBits: pbkdf2, keyLength: nothing }],
} as unknown as Record<string, [name: string, readers: Readers] | undefined>;

/** Whether the algorithm offers the operation, and with which parameters. NotSupportedError if it does not. */
export function normalize(operation: Operation, algorithm: AlgorithmIdentifier): Params {
  const named = { __proto__: null, name: algorithm } as unknown as Dict;
  const dict: Dict = typeof algorithm === 'string' ? named : dictionary(algorithm, 'The algorithm');
  const name = required(dict, 'name', toDOMString);
  const entry = registry[stringToLowerCase(name)];
  const read = entry === undefined ? undefined : ownReader(entry[1], operation);
  if (entry === undefined || read === undefined) throw newDOMException(`${name} is not supported for ${operation}`, 'NotSupportedError');
  return read(dict, entry[0]);
}

function ownReader(readers: Readers, operation: Operation): Reader | undefined {
  const read = readers[operation];
  return typeof read === 'function' ? read : undefined;
}

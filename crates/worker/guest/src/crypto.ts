// Crypto, SubtleCrypto and CryptoKey, as Web Cryptography has them (sections 10, 13 and 14). What they compute is the worker's work: the way
// there is in crypto/worker.ts, what each algorithm takes in crypto/params.ts, and the algorithms in crypto/families.ts.

import { familyOf, type Family, type KeyPair } from './crypto/families.ts';
import { toJwk, type Jwk } from './crypto/jwk.ts';
import {
  CryptoKey, copyKey, dataError, dataOf, has, isKey, newKey, toKey, toUsages, unsupported, type KeyData, type KeyFormat, type Usage,
} from './crypto/keys.ts';
import { normalize, toAlgorithm, type AlgorithmIdentifier, type Operation, type Params } from './crypto/params.ts';
import { bytesBy, random, useHost, type Bytes } from './crypto/worker.ts';
import { utf8Decode, utf8Encode } from './encoding.ts';
import type { Host } from './host.ts';
import {
  bufferOf, copyOf, defineProperty, getOwnPropertyDescriptor, isView, jsonParse, jsonStringify, setPrototypeOf, stringSlice, typedArrayName, uncurry,
} from './primordials.ts';
import {
  copyBufferSource, defineInterface, defineValue, descriptor, internal, isBufferSource, isObject, newDOMException, requireArguments,
  requireInternal, toBufferSource, toEnum, toUnsignedLong,
} from './webidl.ts';

export { CryptoKey, copyKey, isKey };

const bytesSet = uncurry(Uint8Array.prototype.set as (this: Uint8Array, source: ArrayLike<number>, offset?: number) => void);

const randomBytesMax = 65536;

/** Awaited when the parameters are read: what is computed comes after the promise was given out, and settles it no sooner than promises do. */
const later = undefined;

export class SubtleCrypto {
  // The brand: there is nothing to keep.
  #subtle = true;

  constructor(token: unknown = undefined) {
    requireInternal(token);
  }

  async encrypt(algorithm: unknown, key: unknown, data: unknown): Promise<ArrayBuffer> {
    this.#subtle;
    requireArguments(arguments.length, 3, 'SubtleCrypto.encrypt');
    return crypt('encrypt', toAlgorithm(algorithm), toKey(key), toData(data));
  }

  async decrypt(algorithm: unknown, key: unknown, data: unknown): Promise<ArrayBuffer> {
    this.#subtle;
    requireArguments(arguments.length, 3, 'SubtleCrypto.decrypt');
    return crypt('decrypt', toAlgorithm(algorithm), toKey(key), toData(data));
  }

  async sign(algorithm: unknown, key: unknown, data: unknown): Promise<ArrayBuffer> {
    this.#subtle;
    requireArguments(arguments.length, 3, 'SubtleCrypto.sign');
    const identifier = toAlgorithm(algorithm);
    const signer = toKey(key);
    toData(data);
    const params = normalize('sign', identifier);
    const message = copyData(data);
    await later;
    const held = dataFor(signer, params, 'sign');
    return bufferOf(operationOf(familyOf(params.name), 'sign', params.name)(params, held, message));
  }

  async verify(algorithm: unknown, key: unknown, signature: unknown, data: unknown): Promise<boolean> {
    this.#subtle;
    requireArguments(arguments.length, 4, 'SubtleCrypto.verify');
    const identifier = toAlgorithm(algorithm);
    const verifier = toKey(key);
    toData(signature);
    toData(data);
    const params = normalize('verify', identifier);
    const given = copyData(signature);
    const message = copyData(data);
    await later;
    const held = dataFor(verifier, params, 'verify');
    return operationOf(familyOf(params.name), 'verify', params.name)(params, held, given, message);
  }

  async digest(algorithm: unknown, data: unknown): Promise<ArrayBuffer> {
    this.#subtle;
    requireArguments(arguments.length, 2, 'SubtleCrypto.digest');
    const identifier = toAlgorithm(algorithm);
    toData(data);
    const params = normalize('digest', identifier);
    const message = copyData(data);
    await later;
    return bufferOf(bytesBy('digest', { hash: params.name }, [message]));
  }

  async generateKey(algorithm: unknown, extractable: unknown, keyUsages: unknown): Promise<CryptoKey | object> {
    this.#subtle;
    requireArguments(arguments.length, 3, 'SubtleCrypto.generateKey');
    const identifier = toAlgorithm(algorithm);
    const isExtractable = !!extractable;
    const usages = toUsages(keyUsages);
    const params = normalize('generateKey', identifier);
    await later;
    const made = operationOf(familyOf(params.name), 'generate', params.name)(params, isExtractable, usages);
    if ('privateKey' in made) return pairOf(made);
    requireSomeUsage(made);
    return newKey(made);
  }

  async deriveKey(algorithm: unknown, baseKey: unknown, derivedKeyType: unknown, extractable: unknown, keyUsages: unknown): Promise<CryptoKey> {
    this.#subtle;
    requireArguments(arguments.length, 5, 'SubtleCrypto.deriveKey');
    const identifier = toAlgorithm(algorithm);
    const base = toKey(baseKey);
    const derivedIdentifier = toAlgorithm(derivedKeyType);
    const isExtractable = !!extractable;
    const usages = toUsages(keyUsages);
    const params = normalize('deriveBits', identifier);
    const derivedParams = normalize('importKey', derivedIdentifier);
    const lengthParams = normalize('keyLength', derivedIdentifier);
    await later;
    const held = dataFor(base, params, 'deriveKey');
    const derived = familyOf(derivedParams.name);
    const length = operationOf(familyOf(lengthParams.name), 'keyLength', lengthParams.name)(lengthParams);
    const secret = operationOf(familyOf(params.name), 'derive', params.name)(params, held, length);
    const key = operationOf(derived, 'import', derivedParams.name)('raw', secret, derivedParams, isExtractable, usages);
    requireSomeUsage(key);
    return newKey(key);
  }

  async deriveBits(algorithm: unknown, baseKey: unknown, length: unknown = null): Promise<ArrayBuffer> {
    this.#subtle;
    requireArguments(arguments.length, 2, 'SubtleCrypto.deriveBits');
    const identifier = toAlgorithm(algorithm);
    const base = toKey(baseKey);
    const bits = length === null || length === undefined ? null : toUnsignedLong(length);
    const params = normalize('deriveBits', identifier);
    await later;
    const held = dataFor(base, params, 'deriveBits');
    return bufferOf(operationOf(familyOf(params.name), 'derive', params.name)(params, held, bits));
  }

  async importKey(format: unknown, keyData: unknown, algorithm: unknown, extractable: unknown, keyUsages: unknown): Promise<CryptoKey> {
    this.#subtle;
    requireArguments(arguments.length, 5, 'SubtleCrypto.importKey');
    const keyFormat = toFormat(format);
    const isBytes = isBufferSource(keyData);
    const jwk = isBytes ? (toData(keyData), undefined) : toJwk(keyData);
    const identifier = toAlgorithm(algorithm);
    const isExtractable = !!extractable;
    const usages = toUsages(keyUsages);
    const params = normalize('importKey', identifier);
    if ((keyFormat === 'jwk') === isBytes) throw new TypeError(`SubtleCrypto.importKey: key data as ${keyFormat} is not of this type`);
    const given = jwk ?? copyData(keyData);
    await later;
    return importKey(keyFormat, given, params, isExtractable, usages);
  }

  async exportKey(format: unknown, key: unknown): Promise<ArrayBuffer | object> {
    this.#subtle;
    requireArguments(arguments.length, 2, 'SubtleCrypto.exportKey');
    const keyFormat = toFormat(format);
    const held = dataOf(toKey(key));
    const family = familyOf(held.algorithm.name);
    await later;
    if (family.export === undefined) throw unsupported(`Exporting a key of ${held.algorithm.name}`);
    requireExtractable(held);
    return asResult(exportKey(family, keyFormat, held));
  }

  async wrapKey(format: unknown, key: unknown, wrappingKey: unknown, wrapAlgorithm: unknown): Promise<ArrayBuffer> {
    this.#subtle;
    requireArguments(arguments.length, 4, 'SubtleCrypto.wrapKey');
    const keyFormat = toFormat(format);
    const held = dataOf(toKey(key));
    const wrapper = toKey(wrappingKey);
    const [params, operation] = normalizeEither('wrapKey', 'encrypt', toAlgorithm(wrapAlgorithm));
    await later;
    const wrapping = dataFor(wrapper, params, 'wrapKey');
    const exporter = familyOf(held.algorithm.name);
    if (exporter.export === undefined) throw unsupported(`Exporting a key of ${held.algorithm.name}`);
    requireExtractable(held);
    const exported = exportKey(exporter, keyFormat, held);
    const bytes = keyFormat === 'jwk' ? utf8Encode(writeJson(exported)) : (exported as Bytes);
    const family = familyOf(params.name);
    return bufferOf(operationOf(family, operation === 'wrapKey' ? 'wrap' : 'encrypt', params.name)(params, wrapping, bytes));
  }

  async unwrapKey(
    format: unknown, wrappedKey: unknown, unwrappingKey: unknown, unwrapAlgorithm: unknown, unwrappedKeyAlgorithm: unknown, extractable: unknown,
    keyUsages: unknown,
  ): Promise<CryptoKey> {
    this.#subtle;
    requireArguments(arguments.length, 7, 'SubtleCrypto.unwrapKey');
    const keyFormat = toFormat(format);
    toData(wrappedKey);
    const unwrapper = toKey(unwrappingKey);
    const identifier = toAlgorithm(unwrapAlgorithm);
    const keyIdentifier = toAlgorithm(unwrappedKeyAlgorithm);
    const isExtractable = !!extractable;
    const usages = toUsages(keyUsages);
    const [params, operation] = normalizeEither('unwrapKey', 'decrypt', identifier);
    const keyParams = normalize('importKey', keyIdentifier);
    const wrapped = copyData(wrappedKey);
    await later;
    const unwrapping = dataFor(unwrapper, params, 'unwrapKey');
    const family = familyOf(params.name);
    const bytes = operationOf(family, operation === 'unwrapKey' ? 'unwrap' : 'decrypt', params.name)(params, unwrapping, wrapped);
    return importKey(keyFormat, keyFormat === 'jwk' ? parseJwk(bytes) : bytes, keyParams, isExtractable, usages);
  }
}

const formats: readonly KeyFormat[] = ['raw', 'spki', 'pkcs8', 'jwk'];

function toFormat(value: unknown): KeyFormat {
  return toEnum(value, formats, 'The format of the key');
}

/** Only looked at: the bytes are copied when the algorithm's parameters, whose getters may change them, have been read. */
function toData(value: unknown): unknown {
  toBufferSource(value, 'The data');
  return value;
}

function copyData(value: unknown): Bytes {
  return copyBufferSource(value, 'The data');
}

async function crypt(operation: 'encrypt' | 'decrypt', identifier: AlgorithmIdentifier, key: CryptoKey, data: unknown): Promise<ArrayBuffer> {
  const params = normalize(operation, identifier);
  const bytes = copyData(data);
  await later;
  const held = dataFor(key, params, operation);
  return bufferOf(operationOf(familyOf(params.name), operation, params.name)(params, held, bytes));
}

/** The key's own data, if it is one of the algorithm and may be used so. */
function dataFor(key: CryptoKey, params: Params, usage: Usage): KeyData {
  const held = dataOf(key);
  if (held.algorithm.name !== params.name) throw newDOMException(`The key is of ${held.algorithm.name}, not ${params.name}`, 'InvalidAccessError');
  if (!has(held.usages, usage)) throw newDOMException(`The key is not for ${usage}`, 'InvalidAccessError');
  return held;
}

function operationOf<Name extends keyof Family>(family: Family, name: Name, algorithm: string): NonNullable<Family[Name]> {
  const operation = family[name];
  if (operation === undefined) throw unsupported(`${name} with ${algorithm}`);
  return operation as NonNullable<Family[Name]>;
}

function normalizeEither(operation: Operation, other: Operation, identifier: AlgorithmIdentifier): [Params, Operation] {
  try {
    return [normalize(operation, identifier), operation];
  } catch {
    return [normalize(other, identifier), other];
  }
}

function importKey(format: KeyFormat, given: Bytes | Jwk, params: Params, extractable: boolean, usages: readonly Usage[]): CryptoKey {
  const key = operationOf(familyOf(params.name), 'import', params.name)(format, given, params, extractable, usages);
  requireSomeUsage(key);
  return newKey(key);
}

function exportKey(family: Family, format: KeyFormat, key: KeyData): Bytes | object {
  return operationOf(family, 'export', key.algorithm.name)(format, key);
}

function asResult(exported: Bytes | object): ArrayBuffer | object {
  // The material is the key's own: what programs get is a copy.
  return isView(exported) ? bufferOf(copyOf(exported as Bytes)) : exported;
}

/** As in a global object of its own: what a program put on the prototypes has no part in it. */
function writeJson(jwk: object): string {
  setPrototypeOf(jwk, null);
  setPrototypeOf((jwk as Jwk).key_ops as object, null);
  return jsonStringify(jwk) as string;
}

function parseJwk(bytes: Bytes): Jwk {
  let value: unknown;
  try {
    value = jsonParse(utf8Decode(bytes));
  } catch {
    throw dataError('The unwrapped key is no JSON Web Key');
  }
  if (!isObject(value)) throw dataError('The unwrapped key is no JSON Web Key');
  setPrototypeOf(value, null);
  const jwk = toJwk(value);
  if (jwk.kty === undefined) throw dataError('The JSON Web Key has no kty');
  return jwk;
}

function requireSomeUsage(key: KeyData): void {
  if (key.type !== 'public' && key.usages.length === 0) throw newDOMException(`A ${key.type} key needs a usage`, 'SyntaxError');
}

function requireExtractable(key: KeyData): void {
  if (!key.extractable) throw newDOMException('The key is not extractable', 'InvalidAccessError');
}

function pairOf(pair: KeyPair): object {
  requireSomeUsage(pair.privateKey);
  const shown = {};
  defineValue(shown, 'privateKey', newKey(pair.privateKey), true);
  defineValue(shown, 'publicKey', newKey(pair.publicKey), true);
  return shown;
}

// Crypto

let subtleCrypto: SubtleCrypto;

export class Crypto {
  // The brand: there is nothing to keep.
  #crypto = true;

  constructor(token: unknown = undefined) {
    requireInternal(token);
  }

  get subtle(): SubtleCrypto {
    this.#crypto;
    return subtleCrypto;
  }

  getRandomValues<T>(array: T): T {
    this.#crypto;
    requireArguments(arguments.length, 1, 'Crypto.getRandomValues');
    if (!isView(array)) throw new TypeError('Crypto.getRandomValues: the array is not a view of an ArrayBuffer');
    const type = typedArrayName(array);
    if (type === undefined || stringSlice(type, 0, 5) === 'Float') {
      throw newDOMException('Crypto.getRandomValues: the array is not one of integers', 'TypeMismatchError');
    }
    const bytes = toBufferSource(array, 'Crypto.getRandomValues: the array');
    if (bytes.length > randomBytesMax) {
      throw newDOMException(`Crypto.getRandomValues: ${bytes.length} bytes are more than ${randomBytesMax}`, 'QuotaExceededError');
    }
    if (bytes.length > 0) bytesSet(bytes, random(bytes.length));
    return array;
  }

  randomUUID(): string {
    this.#crypto;
    const bytes = random(16);
    bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
    let text = '';
    for (let i = 0; i < 16; i++) {
      if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
      text += hexDigit((bytes[i] as number) >> 4) + hexDigit((bytes[i] as number) & 15);
    }
    return text;
  }
}

function hexDigit(value: number): string {
  return stringSlice('0123456789abcdef', value, value + 1);
}

export function install(global: object, host: Host): void {
  useHost(host);
  defineInterface(global, 'CryptoKey', CryptoKey);
  defineInterface(global, 'SubtleCrypto', SubtleCrypto);
  defineInterface(global, 'Crypto', Crypto);
  subtleCrypto = new SubtleCrypto(internal);
  const theCrypto = new Crypto(internal);
  const accessor = getOwnPropertyDescriptor(
    {
      get crypto(): Crypto {
        return theCrypto;
      },
    },
    'crypto',
  ) as PropertyDescriptor;
  defineProperty(global, 'crypto', descriptor({ get: accessor.get, enumerable: true, configurable: true }));
}

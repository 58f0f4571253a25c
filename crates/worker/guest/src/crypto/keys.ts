// CryptoKey (Web Cryptography, section 13): what a key is to programs, and what it is to us.

import { append, copyOf } from '../primordials.ts';
import { defineValue, internal, isObject, newDOMException, requireInternal, toEnum, toSequence } from '../webidl.ts';
import type { Bytes } from './worker.ts';

// In the order of the standard, which is that of a key's `usages`.
export const allUsages = ['encrypt', 'decrypt', 'sign', 'verify', 'deriveKey', 'deriveBits', 'wrapKey', 'unwrapKey'] as const;
export type Usage = (typeof allUsages)[number];
export type KeyType = 'secret' | 'public' | 'private';
export type KeyFormat = 'raw' | 'spki' | 'pkcs8' | 'jwk';

export interface KeyAlgorithm {
  name: string;
  hash?: string;
  /** Of AES and HMAC, in bits. */
  length?: number;
  namedCurve?: string;
  modulusLength?: number;
  publicExponent?: Bytes;
}

export interface KeyData {
  type: KeyType;
  extractable: boolean;
  algorithm: KeyAlgorithm;
  usages: readonly Usage[];
  /**
   * Secret: the bytes. RSA: SubjectPublicKeyInfo or PKCS #8. Elliptic curves of NIST: the point, uncompressed; private: the scalar, then the
   * point. Curve25519: the public key's 32 bytes; private: the 32 of the seed, then those.
   */
  material: Bytes;
}

export let dataOf: (key: CryptoKey) => KeyData;
export let isKey: (value: unknown) => value is CryptoKey;

export class CryptoKey {
  #data: KeyData;
  // What programs see are objects of their own: to change them changes no key.
  #algorithm: object | undefined = undefined;
  #usages: Usage[] | undefined = undefined;

  static {
    dataOf = (key) => key.#data;
    isKey = (value): value is CryptoKey => isObject(value) && #data in value;
  }

  constructor(token: unknown = undefined, data: unknown = undefined) {
    requireInternal(token);
    this.#data = data as KeyData;
  }

  get type(): KeyType {
    return this.#data.type;
  }

  get extractable(): boolean {
    return this.#data.extractable;
  }

  get algorithm(): object {
    return (this.#algorithm ??= shownAlgorithm(this.#data.algorithm));
  }

  get usages(): Usage[] {
    if (this.#usages === undefined) {
      this.#usages = [];
      for (let i = 0; i < this.#data.usages.length; i++) append(this.#usages, this.#data.usages[i] as Usage);
    }
    return this.#usages;
  }
}

function shownAlgorithm(algorithm: KeyAlgorithm): object {
  const shown = {};
  if (algorithm.hash !== undefined) {
    const hash = {};
    defineValue(hash, 'name', algorithm.hash, true);
    defineValue(shown, 'hash', hash, true);
  }
  if (algorithm.length !== undefined) defineValue(shown, 'length', algorithm.length, true);
  if (algorithm.modulusLength !== undefined) defineValue(shown, 'modulusLength', algorithm.modulusLength, true);
  defineValue(shown, 'name', algorithm.name, true);
  if (algorithm.namedCurve !== undefined) defineValue(shown, 'namedCurve', algorithm.namedCurve, true);
  if (algorithm.publicExponent !== undefined) defineValue(shown, 'publicExponent', copyOf(algorithm.publicExponent), true);
  return shown;
}

export function newKey(data: KeyData): CryptoKey {
  return new CryptoKey(internal, data);
}

/** The same key as another object: material is never changed, so both can have it. */
export function copyKey(key: CryptoKey): CryptoKey {
  return newKey(dataOf(key));
}

export function toKey(value: unknown): CryptoKey {
  if (!isKey(value)) throw new TypeError('The key is not a CryptoKey');
  return value;
}

export function toUsages(value: unknown): Usage[] {
  return toSequence(value, toUsage, 'The list of usages');
}

function toUsage(value: unknown): Usage {
  return toEnum(value, allUsages, 'A usage');
}

export function has(usages: readonly Usage[], usage: Usage): boolean {
  for (let i = 0; i < usages.length; i++) if (usages[i] === usage) return true;
  return false;
}

/** Those of the usages that are allowed, each once and in the standard's order. */
export function intersection(usages: readonly Usage[], allowed: readonly Usage[]): Usage[] {
  const both: Usage[] = [];
  for (let i = 0; i < allUsages.length; i++) {
    const usage = allUsages[i] as Usage;
    if (has(usages, usage) && has(allowed, usage)) append(both, usage);
  }
  return both;
}

/** SyntaxError if a usage is asked for that such a key has not. */
export function requireUsages(usages: readonly Usage[], allowed: readonly Usage[], what: string): void {
  for (let i = 0; i < usages.length; i++) {
    if (!has(allowed, usages[i] as Usage)) throw newDOMException(`${what} cannot be used for ${usages[i]}`, 'SyntaxError');
  }
}

export function dataError(message: string): Error {
  return newDOMException(message, 'DataError');
}

export function unsupported(what: string): Error {
  return newDOMException(`${what} is not supported`, 'NotSupportedError');
}


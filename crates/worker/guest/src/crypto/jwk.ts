// JSON Web Keys (RFC 7517, RFC 7518 section 6), as Web Cryptography reads and writes them.

import { append, regexpExec, uncurry } from '../primordials.ts';
import { defineValue, dictionary, member, toDOMString, toSequence } from '../webidl.ts';
import { dataError, has, type KeyData, type Usage } from './keys.ts';
import type { Bytes } from './worker.ts';

interface Base64 {
  fromBase64(text: string, options: object): Bytes;
  prototype: { toBase64(options: object): string };
}
const { fromBase64, prototype } = Uint8Array as unknown as Base64;
const NativeUint8Array = Uint8Array;
const toBase64 = uncurry(prototype.toBase64) as (bytes: Bytes, options: object) => string;
const uncurriedFrom = uncurry(fromBase64) as (self: object, text: string, options: object) => Bytes;

const texts = ['alg', 'crv', 'd', 'dp', 'dq', 'e', 'k', 'kty', 'n', 'p', 'q', 'qi', 'use', 'x', 'y'] as const;
export type TextMember = (typeof texts)[number];

export interface Jwk extends Partial<Record<TextMember, string>> {
  ext?: boolean;
  key_ops?: string[];
  oth?: unknown[];
}

// The members in the order in which a dictionary's are read.
const order = ['alg', 'crv', 'd', 'dp', 'dq', 'e', 'ext', 'k', 'key_ops', 'kty', 'n', 'oth', 'p', 'q', 'qi', 'use', 'x', 'y'] as const;

export function toJwk(value: unknown): Jwk {
  const dict = dictionary(value, 'The JSON Web Key');
  const jwk: Jwk = { __proto__: null } as unknown as Jwk;
  for (let i = 0; i < order.length; i++) {
    const key = order[i] as (typeof order)[number];
    if (key === 'ext') {
      const ext = member(dict, key, (given) => !!given);
      if (ext !== undefined) jwk.ext = ext;
    } else if (key === 'key_ops') {
      const operations = member(dict, key, (given) => toSequence(given, toDOMString, 'key_ops'));
      if (operations !== undefined) jwk.key_ops = operations;
    } else if (key === 'oth') {
      const others = member(dict, key, (given) => toSequence(given, (other) => dictionary(other, 'oth'), 'oth'));
      if (others !== undefined) jwk.oth = others;
    } else {
      const text = member(dict, key, toDOMString);
      if (text !== undefined) jwk[key] = text;
    }
  }
  return jwk;
}

/** What every import of a JSON Web Key checks. `use` is that of such keys, and `alg` may be one of those given. */
export function checkJwk(jwk: Jwk, kty: string, use: string, algs: readonly string[], extractable: boolean, usages: readonly Usage[]): void {
  if (jwk.kty !== kty) throw dataError(`The JSON Web Key's kty is not ${kty}`);
  if (usages.length > 0 && jwk.use !== undefined && jwk.use !== use) throw dataError(`The JSON Web Key's use is not ${use}`);
  if (jwk.key_ops !== undefined) checkOperations(jwk.key_ops, usages);
  if (jwk.ext === false && extractable) throw dataError('The JSON Web Key is not extractable');
  if (jwk.alg === undefined || algs.length === 0) return;
  for (let i = 0; i < algs.length; i++) if (jwk.alg === algs[i]) return;
  throw dataError(`The JSON Web Key's alg is not ${algs[0]}`);
}

function checkOperations(operations: string[], usages: readonly Usage[]): void {
  for (let i = 0; i < operations.length; i++) {
    for (let j = 0; j < i; j++) if (operations[i] === operations[j]) throw dataError("The JSON Web Key's key_ops has one twice");
  }
  for (let i = 0; i < usages.length; i++) {
    if (!has(operations as Usage[], usages[i] as Usage)) throw dataError(`The JSON Web Key's key_ops has no ${usages[i]}`);
  }
}

const base64url = /^[A-Za-z0-9_-]*$/;

/** The bytes of a member, or DataError. */
export function bytesOfMember(jwk: Jwk, key: TextMember): Bytes {
  const text = jwk[key];
  if (text === undefined) throw dataError(`The JSON Web Key has no ${key}`);
  if (regexpExec(base64url, text) === null) throw dataError(`The JSON Web Key's ${key} is not base64url`);
  try {
    return uncurriedFrom(NativeUint8Array, text, { __proto__: null, alphabet: 'base64url' });
  } catch {
    throw dataError(`The JSON Web Key's ${key} is not base64url`);
  }
}

export function toBase64url(bytes: Bytes): string {
  return toBase64(bytes, { __proto__: null, alphabet: 'base64url', omitPadding: true });
}

/** The key written down: its own members, and those that every key has. */
export function writeJwk(key: KeyData, members: Partial<Record<TextMember, string>>): object {
  const jwk = {};
  for (let i = 0; i < order.length; i++) {
    const name = order[i] as (typeof order)[number];
    if (name === 'ext') defineValue(jwk, name, key.extractable, true);
    else if (name === 'key_ops') defineValue(jwk, name, copyUsages(key.usages), true);
    else if (name !== 'oth' && members[name] !== undefined) defineValue(jwk, name, members[name], true);
  }
  return jwk;
}

function copyUsages(usages: readonly Usage[]): Usage[] {
  const copy: Usage[] = [];
  for (let i = 0; i < usages.length; i++) append(copy, usages[i] as Usage);
  return copy;
}


// What a family of algorithms offers: one object for each, its operations absent where it has them not.

import { ecdh, ecdsa, ed25519, x25519 } from './curves.ts';
import type { Jwk } from './jwk.ts';
import type { KeyData, KeyFormat, Usage } from './keys.ts';
import type { Params } from './params.ts';
import { rsaOaep, rsaPkcs1, rsaPss } from './rsa.ts';
import { aesCbc, aesCtr, aesGcm, aesKw, hkdf, hmac, pbkdf2 } from './symmetric.ts';
import type { Bytes } from './worker.ts';

export interface KeyPair {
  publicKey: KeyData;
  privateKey: KeyData;
}

export interface Family {
  generate?(params: Params, extractable: boolean, usages: readonly Usage[]): KeyData | KeyPair;
  import?(format: KeyFormat, given: Bytes | Jwk, params: Params, extractable: boolean, usages: readonly Usage[]): KeyData;
  export?(format: KeyFormat, key: KeyData): Bytes | object;
  /** In bits; null where any length will do. */
  keyLength?(params: Params): number | null;
  sign?(params: Params, key: KeyData, data: Bytes): Bytes;
  verify?(params: Params, key: KeyData, signature: Bytes, data: Bytes): boolean;
  encrypt?(params: Params, key: KeyData, data: Bytes): Bytes;
  decrypt?(params: Params, key: KeyData, data: Bytes): Bytes;
  wrap?(params: Params, key: KeyData, data: Bytes): Bytes;
  unwrap?(params: Params, key: KeyData, data: Bytes): Bytes;
  /** `length` in bits; null for all that there is. */
  derive?(params: Params, key: KeyData, length: number | null): Bytes;
}

const families = {
  __proto__: null,
  'RSASSA-PKCS1-v1_5': rsaPkcs1,
  'RSA-PSS': rsaPss,
  'RSA-OAEP': rsaOaep,
  ECDSA: ecdsa,
  ECDH: ecdh,
  Ed25519: ed25519,
  X25519: x25519,
  'AES-CBC': aesCbc,
  'AES-CTR': aesCtr,
  'AES-GCM': aesGcm,
  'AES-KW': aesKw,
  HMAC: hmac,
  HKDF: hkdf,
  PBKDF2: pbkdf2,
} as unknown as Record<string, Family>;

/** The family of an algorithm, by the name that `normalize` gave. */
export function familyOf(name: string): Family {
  return families[name] as Family;
}

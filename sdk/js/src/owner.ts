// Owners: `did:key` texts of Ed25519 public keys (docs/formats.md, "Access keys").

import { type Bytes, base58, concat, unbase58 } from './bytes.js';

const PREFIX = 'did:key:z';
/** The multicodec of an Ed25519 public key. */
const ED25519 = Uint8Array.of(0xed, 0x01);

/** The owner with a public key of 32 bytes. */
export function didOf(key: Bytes): string {
  return PREFIX + base58(concat(ED25519, key));
}

/** The public key, 32 bytes, of an owner; null where the text is no `did:key` of an Ed25519 key. */
export function keyOfDid(did: unknown): Bytes | null {
  const bytes = typeof did === 'string' && did.startsWith(PREFIX) ? unbase58(did.slice(PREFIX.length)) : null;
  return bytes?.length === 34 && bytes[0] === ED25519[0] && bytes[1] === ED25519[1] ? bytes.slice(2) : null;
}

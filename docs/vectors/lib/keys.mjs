// Access keys, owners, read keys and what follows from them.

import { covers } from './address.mjs';
import { base58, concat, same, unbase58, utf8 } from './bytes.mjs';
import { blake3, hkdf, hmac, publicOf, sha256, stretch, unwrap, wrap } from './primitives.mjs';

const ED25519 = Uint8Array.of(0xed, 0x01);

export const keyText = async (seed) => 'jsfs_' + base58(concat(seed, (await checksum(seed)).subarray(0, 4)));

const checksum = (seed) => sha256('jsfs/v1/access-key', seed);

// What an access key is: {seed}, {chosen}, or {error}.
export async function parseKey(text) {
  if (!text.startsWith('jsfs_')) {
    const length = utf8(text).length;
    if (length === 0) return { error: 'empty' };
    return length > 1_024 ? { error: 'too long' } : { chosen: text };
  }
  const bytes = unbase58(text.slice(5));
  if (!bytes) return { error: 'not base58' };
  if (bytes.length !== 36) return { error: 'length' };
  const seed = bytes.slice(0, 32);
  return same((await checksum(seed)).subarray(0, 4), bytes.subarray(32)) ? { seed } : { error: 'checksum' };
}

export const stretchKey = async (chosen, namespace) =>
  stretch(utf8(chosen), await sha256('jsfs/v1/argon2', namespace));

export async function derive(seed) {
  const secret = await hkdf(seed, 'jsfs/v1/sign');
  return { secret, owner: await publicOf(secret), wrapping: await hkdf(seed, 'jsfs/v1/wrap') };
}

export const didOf = (key) => 'did:key:z' + base58(concat(ED25519, key));

// The key of a did:key, or null.
export function keyOfDid(did) {
  const bytes = typeof did === 'string' && did.startsWith('did:key:z') ? unbase58(did.slice(9)) : null;
  return bytes?.length === 34 && same(bytes.subarray(0, 2), ED25519) ? bytes.slice(2) : null;
}

// The read key of `to`, from that of `from`; null if `to` is not `from` or below it.
export async function descend(key, from, to) {
  if (!covers(from, to)) return null;
  let reached = key;
  for (const name of to.slice(from.length).match(/[^/]+\/?/g) ?? []) reached = await hmac(reached, name);
  return reached;
}

export const privateLocator = (readKey) => hmac(readKey, '/locator');
export const privateGroup = (readKey) => hmac(readKey, '/directory');
export const publicLocator = (address) => blake3(address);

export const convergenceOf = (readKey) => hkdf(readKey, 'jsfs/v1/convergence');
export const tagOf = (secret, hash) => hmac(secret, 'tag', hash);
export const wrapBlockKey = async (secret, hash, key) => wrap(await hmac(secret, 'key', hash), key);
export const unwrapBlockKey = async (secret, hash, wrapped) => unwrap(await hmac(secret, 'key', hash), wrapped);

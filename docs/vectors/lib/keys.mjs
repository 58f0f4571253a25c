// What follows from access keys and read keys, beyond what the SDK needs for its tokens.

import { utf8 } from './bytes.mjs';
import { blake3, hkdf, hmac, sha256, stretch, unwrap, wrap } from './primitives.mjs';

export const stretchKey = async (chosen, namespace) =>
  stretch(utf8(chosen), await sha256('jsfs/v1/argon2', namespace));

export const wrappingKey = (seed) => hkdf(seed, 'jsfs/v1/wrap');

export const privateLocator = (readKey) => hmac(readKey, '/locator');
export const privateGroup = (readKey) => hmac(readKey, '/directory');
export const publicLocator = (address) => blake3(address);

export const convergenceOf = (readKey) => hkdf(readKey, 'jsfs/v1/convergence');
export const convergenceOfDirectory = (secret, directory) => hmac(secret, 'directory', directory);
export const tagOf = (secret, hash) => hmac(secret, 'tag', hash);
export const wrapBlockKey = async (secret, hash, key) => wrap(await hmac(secret, 'key', hash), key);
export const unwrapBlockKey = async (secret, hash, wrapped) => unwrap(await hmac(secret, 'key', hash), wrapped);

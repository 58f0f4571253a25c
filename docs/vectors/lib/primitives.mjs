// The primitives: those that the SDK uses, and what it does not need, from Node's WebCrypto and from @noble/hashes.

import { webcrypto } from 'node:crypto';
import { argon2id } from '@noble/hashes/argon2.js';
import { blake3 as noble } from '@noble/hashes/blake3.js';
import { concat } from './bytes.mjs';

export { hkdf, hmac, sha256, sign, verify } from '../../../sdk/js/dist/crypto.js';

const { subtle } = webcrypto;
const raw = (buffer) => new Uint8Array(buffer);

export const blake3 = (...parts) => noble(concat(...parts));

export const stretch = (password, salt) =>
  argon2id(password, salt, { t: 2, m: 19_456, p: 1, version: 0x13, dkLen: 32 });

export async function sealGcm(key, associated, plaintext) {
  const imported = await subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt']);
  const how = { name: 'AES-GCM', iv: new Uint8Array(12), additionalData: associated };
  return raw(await subtle.encrypt(how, imported, plaintext));
}

// The plaintext, or null where it does not open.
export async function openGcm(key, associated, sealed) {
  const imported = await subtle.importKey('raw', key, 'AES-GCM', false, ['decrypt']);
  const how = { name: 'AES-GCM', iv: new Uint8Array(12), additionalData: associated };
  return subtle.decrypt(how, imported, sealed).then(raw, () => null);
}

const WRAPPED = { name: 'HMAC', hash: 'SHA-256', length: 256 };

export async function wrap(kek, key) {
  const outer = await subtle.importKey('raw', kek, 'AES-KW', false, ['wrapKey']);
  const inner = await subtle.importKey('raw', key, WRAPPED, true, ['sign']);
  return raw(await subtle.wrapKey('raw', inner, outer, 'AES-KW'));
}

// The key that was wrapped, or null where it does not open.
export async function unwrap(kek, wrapped) {
  const outer = await subtle.importKey('raw', kek, 'AES-KW', false, ['unwrapKey']);
  const inner = await subtle.unwrapKey('raw', wrapped, outer, 'AES-KW', WRAPPED, true, ['sign']).catch(() => null);
  return inner && raw(await subtle.exportKey('raw', inner));
}

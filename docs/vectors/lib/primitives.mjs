// The primitives: Node's WebCrypto, and @noble/hashes for the two that WebCrypto lacks.

import { webcrypto } from 'node:crypto';
import { argon2id } from '@noble/hashes/argon2.js';
import { blake3 as noble } from '@noble/hashes/blake3.js';
import { concat } from './bytes.mjs';

const { subtle } = webcrypto;
const raw = (buffer) => new Uint8Array(buffer);
const PKCS8_OF_ED25519 = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);

export const blake3 = (...parts) => noble(concat(...parts));

export const sha256 = async (...parts) => raw(await subtle.digest('SHA-256', concat(...parts)));

export async function hmac(key, ...parts) {
  const imported = await subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return raw(await subtle.sign('HMAC', imported, concat(...parts)));
}

export async function hkdf(secret, info, salt = new Uint8Array()) {
  const imported = await subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  return raw(await subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info: concat(info) }, imported, 256));
}

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

const secretKey = (secret) =>
  subtle.importKey('pkcs8', concat(PKCS8_OF_ED25519, secret), 'Ed25519', true, ['sign']);

export async function publicOf(secret) {
  const { x } = await subtle.exportKey('jwk', await secretKey(secret));
  return new Uint8Array(Buffer.from(x, 'base64url'));
}

export const sign = async (secret, message) => raw(await subtle.sign('Ed25519', await secretKey(secret), message));

export async function verify(key, message, signature) {
  try {
    const imported = await subtle.importKey('raw', key, 'Ed25519', false, ['verify']);
    return await subtle.verify('Ed25519', imported, signature, message);
  } catch {
    return false;
  }
}

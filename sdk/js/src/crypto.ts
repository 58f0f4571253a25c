// The primitives of docs/formats.md that access keys and tokens need, all from WebCrypto.
//
// Browsers have WebCrypto in secure contexts only: pages from https, from localhost and from *.localhost.

import { type Bytes, concat, unbase64url } from './bytes.js';

/** What stands before the 32 secret bytes in the PKCS #8 form of an Ed25519 key (RFC 8410 §7). */
const PKCS8_OF_ED25519 = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);

function subtle(): SubtleCrypto {
  const found = globalThis.crypto?.subtle;
  if (!found) throw new TypeError('there is no WebCrypto here; serve the page from https or from localhost');
  return found;
}

export function randomBytes(length: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(length));
}

export async function sha256(...parts: readonly (string | Uint8Array)[]): Promise<Bytes> {
  return new Uint8Array(await subtle().digest('SHA-256', concat(...parts)));
}

/** HMAC with SHA-256. */
export async function hmac(key: Bytes, ...parts: readonly (string | Uint8Array)[]): Promise<Bytes> {
  const imported = await subtle().importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await subtle().sign('HMAC', imported, concat(...parts)));
}

/** HKDF with SHA-256 and an empty salt unless one is given; 32 bytes. */
export async function hkdf(secret: Bytes, info: string, salt: Bytes = new Uint8Array()): Promise<Bytes> {
  const imported = await subtle().importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const how = { name: 'HKDF', hash: 'SHA-256', salt, info: concat(info) };
  return new Uint8Array(await subtle().deriveBits(how, imported, 256));
}

/** The Ed25519 public key, 32 bytes, of a secret of 32 bytes. */
export async function publicOf(secret: Bytes): Promise<Bytes> {
  const { x = '' } = await subtle().exportKey('jwk', await signingKey(secret));
  return unbase64url(x) ?? new Uint8Array();
}

/** The Ed25519 signature, 64 bytes. */
export async function sign(secret: Bytes, message: Bytes): Promise<Bytes> {
  return new Uint8Array(await subtle().sign('Ed25519', await signingKey(secret), message));
}

function signingKey(secret: Bytes): Promise<CryptoKey> {
  return subtle().importKey('pkcs8', concat(PKCS8_OF_ED25519, secret), 'Ed25519', true, ['sign']);
}

/** Whether an Ed25519 signature is good; a key that is none verifies nothing. */
export async function verify(key: Bytes, message: Bytes, signature: Bytes): Promise<boolean> {
  const imported = await subtle()
    .importKey('raw', key, 'Ed25519', false, ['verify'])
    .catch(() => null);
  return imported !== null && subtle().verify('Ed25519', imported, signature, message);
}

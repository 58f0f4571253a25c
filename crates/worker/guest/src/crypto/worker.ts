// The way of Web Cryptography down to the worker: the operations, and what each takes and answers.
//
// Every operation is a function of its parameters alone: where one needs randomness, the guest draws it (`random`) and gives it along as `seed`,
// so that a run that must be repeatable cannot have any. Key material is in the forms of `KeyData`. Buffers are in the order shown; `bool` is the
// text "true" or "false", everything else bytes unless said otherwise. Errors: DataError for key material that is none, OperationError for what
// cannot be done or is beyond the worker's bounds, NotSupportedError.
//
//   digest         {hash}                     data
//   hmac.sign      {hash}                     key, data
//   hmac.verify    {hash}                     key, signature, data → bool
//   aes.encrypt    {mode, counter?, tag?}     key, iv, data, additional data        mode: cbc, ctr (`counter` bits), gcm (`tag` bits)
//   aes.decrypt    {mode, counter?, tag?}     key, iv, data, additional data
//   aes.wrap       {}                         key, data                             RFC 3394
//   aes.unwrap     {}                         key, data
//   hkdf           {hash, length}             key, salt, info                       length: bytes
//   pbkdf2         {hash, iterations, length} password, salt
//   ec.generate    {curve}                    seed → private
//   ec.import      {curve, format}            format raw or spki: bytes → public; pkcs8: bytes → private; jwk: x, y → public, or x, y, d → private
//   ec.export      {curve, format}            spki: public; pkcs8: private
//   ec.derive      {curve}                    private, public → the x coordinate
//   ecdsa.sign     {curve, hash}              private, data → r and s, one after the other
//   ecdsa.verify   {curve, hash}              public, signature, data → bool
//   okp.generate   {curve}                    seed → private                        curve: Ed25519, X25519
//   okp.import     {curve, format}            raw, spki, pkcs8; jwk: x → public, or x, d → private
//   okp.export     {curve, format}            spki: public; pkcs8: private
//   okp.derive     {}                         private, public                       X25519
//   ed25519.sign   {}                         private, data
//   ed25519.verify {}                         public, signature, data → bool
//   rsa.generate   {bits}                     seed, exponent → private
//   rsa.import     {format}                   spki or pkcs8: bytes; jwk: n, e → public, or n, e, d, p, q, dp, dq, qi → private
//   rsa.public     {}                         private → public
//   rsa.numbers    {private}                  key → JSON of n, e and, if private, d, p, q, dp, dq, qi: hexadecimal, without leading zeros
//   rsa.sign       {scheme, hash, salt}       private, data, seed                   scheme: pkcs1, pss; salt: bytes; no seed without a salt
//   rsa.verify     {scheme, hash, salt}       public, signature, data → bool
//   rsa.encrypt    {hash}                     public, data, label, seed             OAEP
//   rsa.decrypt    {hash}                     private, data, label

import type { Host } from '../host.ts';
import { append, bufferOf, isArrayBuffer, jsonStringify, reflectApply } from '../primordials.ts';

const NativeUint8Array = Uint8Array;
const NativeArrayBuffer = ArrayBuffer;

let host: Host;

export type Bytes = Uint8Array<ArrayBuffer>;

export function useHost(theHost: Host): void {
  host = theHost;
}

/** Unpredictable bytes. */
export function random(length: number): Bytes {
  return new NativeUint8Array(host.random(length));
}

export const seedBytes = 32;

function perform(operation: string, params: object, buffers: Bytes[]): ArrayBuffer | string {
  const args: unknown[] = [operation, jsonStringify(params)];
  for (let i = 0; i < buffers.length; i++) append(args, bufferOf(buffers[i] as Bytes));
  return reflectApply(host.crypto, host, args) as ArrayBuffer | string;
}

/** An operation that answers bytes. */
export function bytesBy(operation: string, params: object, buffers: Bytes[]): Bytes {
  const answer = perform(operation, params, buffers);
  return new NativeUint8Array(isArrayBuffer(answer) ? answer : new NativeArrayBuffer(0));
}

/** An operation that answers text. */
export function textBy(operation: string, params: object, buffers: Bytes[]): string {
  return perform(operation, params, buffers) as string;
}

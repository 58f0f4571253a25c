// RSASSA-PKCS1-v1_5, RSA-PSS and RSA-OAEP (Web Cryptography, sections 20 to 22).

import { jsonParse, stringCharCodeAt, stringSlice } from '../primordials.ts';
import { newDOMException } from '../webidl.ts';
import type { Family } from './families.ts';
import { bytesOfMember, checkJwk, toBase64url, writeJwk, type Jwk, type TextMember } from './jwk.ts';
import { intersection, requireUsages, unsupported, type KeyAlgorithm, type KeyData, type KeyFormat, type Usage } from './keys.ts';
import type { Params } from './params.ts';
import { bytesBy, random, seedBytes, textBy, type Bytes } from './worker.ts';

const NativeUint8Array = Uint8Array;
const noBytes = new NativeUint8Array();

type Numbers = Partial<Record<TextMember, string>>;

interface Kind {
  publicUsages: readonly Usage[];
  privateUsages: readonly Usage[];
  use: string;
  alg: (hash: string) => string;
}

const bits = (hash: string): string => (hash === 'SHA-1' ? '1' : stringSlice(hash, 4));

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const;

function rsa(kind: Kind, operations: Family): Family {
  const { publicUsages, privateUsages } = kind;
  return {
    ...operations,
    generate(params, extractable, usages) {
      requireUsages(usages, [...publicUsages, ...privateUsages], params.name);
      const exponent = withoutZeros(params.publicExponent as Bytes);
      const privateMaterial = bytesBy('rsa.generate', { bits: params.modulusLength }, [random(seedBytes), exponent]);
      const publicMaterial = bytesBy('rsa.public', {}, [privateMaterial]);
      const algorithm: KeyAlgorithm = {
        name: params.name, hash: params.hash as string, modulusLength: params.modulusLength as number, publicExponent: params.publicExponent as Bytes,
      };
      return {
        publicKey: { type: 'public', extractable: true, algorithm, usages: intersection(usages, publicUsages), material: publicMaterial },
        privateKey: { type: 'private', extractable, algorithm, usages: intersection(usages, privateUsages), material: privateMaterial },
      };
    },
    import(format, given, params, extractable, usages) {
      let isPrivate = format === 'pkcs8';
      let material: Bytes;
      if (format === 'jwk') {
        const jwk = given as Jwk;
        isPrivate = jwk.d !== undefined;
        requireUsages(usages, isPrivate ? privateUsages : publicUsages, params.name);
        checkJwk(jwk, 'RSA', kind.use, [kind.alg(params.hash as string)], extractable, usages);
        material = bytesBy('rsa.import', { format }, numbersOf(jwk, isPrivate));
      } else if (format === 'spki' || format === 'pkcs8') {
        requireUsages(usages, isPrivate ? privateUsages : publicUsages, params.name);
        material = bytesBy('rsa.import', { format }, [given as Bytes]);
      } else throw unsupported(`A key of ${params.name} as ${format}`);
      return describeKey(params, material, isPrivate, extractable, intersection(usages, isPrivate ? privateUsages : publicUsages));
    },
    export(format, key) {
      if (format === 'jwk') return exportJwk(kind, key);
      requireFormat(format, key);
      return key.material;
    },
  };
}

function requireFormat(format: KeyFormat, key: KeyData): void {
  if (format === 'raw') throw unsupported(`A key of ${key.algorithm.name} as raw`);
  const wanted = format === 'spki' ? 'public' : 'private';
  if (key.type !== wanted) throw newDOMException(`A ${key.type} key cannot be exported as ${format}`, 'InvalidAccessError');
}

function withoutZeros(number: Bytes): Bytes {
  let zeros = 0;
  while (zeros < number.length && number[zeros] === 0) zeros++;
  const rest = new NativeUint8Array(number.length - zeros);
  for (let i = 0; i < rest.length; i++) rest[i] = number[zeros + i] as number;
  return rest;
}

function numbersOf(jwk: Jwk, isPrivate: boolean): Bytes[] {
  if (jwk.oth !== undefined) throw unsupported('A key of RSA with more than two primes');
  const modulus = bytesOfMember(jwk, 'n');
  const exponent = bytesOfMember(jwk, 'e');
  if (!isPrivate) return [modulus, exponent];
  const [d, p, q, dp, dq, qi] = [
    bytesOfMember(jwk, 'd'), bytesOfMember(jwk, 'p'), bytesOfMember(jwk, 'q'), bytesOfMember(jwk, 'dp'), bytesOfMember(jwk, 'dq'),
    bytesOfMember(jwk, 'qi'),
  ];
  return [modulus, exponent, d as Bytes, p as Bytes, q as Bytes, dp as Bytes, dq as Bytes, qi as Bytes];
}

function describeKey(params: Params, material: Bytes, isPrivate: boolean, extractable: boolean, usages: Usage[]): KeyData {
  const numbers = jsonParse(textBy('rsa.numbers', { private: isPrivate }, [material])) as { n: string; e: string };
  const publicExponent = fromHex(numbers.e);
  // Hexadecimal without leading zeros: four bits a digit, fewer in the first.
  const modulusLength = numbers.n.length * 4 - unusedBits(stringCharCodeAt(numbers.n, 0));
  return {
    type: isPrivate ? 'private' : 'public',
    extractable,
    algorithm: { name: params.name, hash: params.hash as string, modulusLength, publicExponent },
    usages,
    material,
  };
}

function digit(code: number): number {
  return code < 0x3a ? code - 0x30 : code - 0x57;
}

function unusedBits(code: number): number {
  const value = digit(code);
  return value >= 8 ? 0 : value >= 4 ? 1 : value >= 2 ? 2 : 3;
}

function fromHex(text: string): Bytes {
  const even = text.length % 2 === 0 ? text : `0${text}`;
  const bytes = new NativeUint8Array(even.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = digit(stringCharCodeAt(even, 2 * i)) * 16 + digit(stringCharCodeAt(even, 2 * i + 1));
  return bytes;
}

function exportJwk(kind: Kind, key: KeyData): object {
  const isPrivate = key.type === 'private';
  const numbers = jsonParse(textBy('rsa.numbers', { private: isPrivate }, [key.material])) as Numbers;
  const number = (name: TextMember): string => toBase64url(fromHex(numbers[name] as string));
  const members: Numbers = { kty: 'RSA', alg: kind.alg(key.algorithm.hash as string), n: number('n'), e: number('e') };
  if (isPrivate) for (let i = 0; i < privateMembers.length; i++) members[privateMembers[i] as TextMember] = number(privateMembers[i] as TextMember);
  return writeJwk(key, members);
}

const verifying: readonly Usage[] = ['verify'];
const signing: readonly Usage[] = ['sign'];

function requireType(key: KeyData, type: 'public' | 'private'): void {
  if (key.type !== type) throw newDOMException(`A ${key.type} key cannot be used for this: it takes a ${type} key`, 'InvalidAccessError');
}

export const rsaPkcs1 = rsa(
  { publicUsages: verifying, privateUsages: signing, use: 'sig', alg: (hash) => `RS${bits(hash)}` },
  {
    sign(_params, key, data) {
      requireType(key, 'private');
      return bytesBy('rsa.sign', { scheme: 'pkcs1', hash: key.algorithm.hash, salt: 0 }, [key.material, data, noBytes]);
    },
    verify(_params, key, signature, data) {
      requireType(key, 'public');
      return textBy('rsa.verify', { scheme: 'pkcs1', hash: key.algorithm.hash, salt: 0 }, [key.material, signature, data]) === 'true';
    },
  },
);

export const rsaPss = rsa(
  { publicUsages: verifying, privateUsages: signing, use: 'sig', alg: (hash) => `PS${bits(hash)}` },
  {
    sign(params, key, data) {
      requireType(key, 'private');
      const salt = params.saltLength as number;
      // Without a salt nothing is random.
      const seed = salt === 0 ? noBytes : random(seedBytes);
      return bytesBy('rsa.sign', { scheme: 'pss', hash: key.algorithm.hash, salt }, [key.material, data, seed]);
    },
    verify(params, key, signature, data) {
      requireType(key, 'public');
      return textBy('rsa.verify', { scheme: 'pss', hash: key.algorithm.hash, salt: params.saltLength }, [key.material, signature, data]) === 'true';
    },
  },
);

export const rsaOaep = rsa(
  {
    publicUsages: ['encrypt', 'wrapKey'],
    privateUsages: ['decrypt', 'unwrapKey'],
    use: 'enc',
    alg: (hash) => (hash === 'SHA-1' ? 'RSA-OAEP' : `RSA-OAEP-${bits(hash)}`),
  },
  {
    encrypt(params, key, data) {
      requireType(key, 'public');
      return bytesBy('rsa.encrypt', { hash: key.algorithm.hash }, [key.material, data, params.label ?? noBytes, random(seedBytes)]);
    },
    decrypt(params, key, data) {
      requireType(key, 'private');
      return bytesBy('rsa.decrypt', { hash: key.algorithm.hash }, [key.material, data, params.label ?? noBytes]);
    },
  },
);


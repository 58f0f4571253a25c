// ECDSA and ECDH with the curves of NIST, Ed25519 and X25519 (Web Cryptography, sections 23 to 26).

import { newDOMException } from '../webidl.ts';
import type { Family } from './families.ts';
import { bytesOfMember, checkJwk, toBase64url, writeJwk, type Jwk, type TextMember } from './jwk.ts';
import { dataError, dataOf, intersection, requireUsages, unsupported, type CryptoKey, type KeyAlgorithm, type KeyData, type Usage } from './keys.ts';
import { dropBits } from './symmetric.ts';
import { bytesBy, random, seedBytes, textBy, type Bytes } from './worker.ts';
import { copyOf, uncurry } from '../primordials.ts';

const subarray = uncurry(Uint8Array.prototype.subarray as (this: Uint8Array, from: number, to?: number) => Bytes);

interface Kind {
  publicUsages: readonly Usage[];
  privateUsages: readonly Usage[];
  use: string;
  /** The prefix of the operations: `ec` or `okp`. */
  operations: 'ec' | 'okp';
  kty: string;
  /** The values of `alg` that a JSON Web Key may have; none: any. */
  algs: (curve: string) => readonly string[];
}

const anyAlg: readonly string[] = [];
const signers = { publicUsages: ['verify'] as readonly Usage[], privateUsages: ['sign'] as readonly Usage[], use: 'sig' };
const exchangers = { publicUsages: [] as readonly Usage[], privateUsages: ['deriveKey', 'deriveBits'] as readonly Usage[], use: 'enc' };

/** The bytes of a coordinate, or of a key of Curve25519. */
function fieldBytes(curve: string): number {
  return curve === 'P-384' ? 48 : curve === 'P-521' ? 66 : 32;
}

function publicPart(kind: Kind, curve: string, material: Bytes): Bytes {
  return copyOf(subarray(material, kind.operations === 'ec' ? fieldBytes(curve) : 32));
}

/** The name of the curve: that of the algorithm for Curve25519, one of three for the others. */
function curveOf(kind: Kind, algorithm: { name: string; namedCurve?: string }): string {
  return kind.operations === 'okp' ? algorithm.name : (algorithm.namedCurve as string);
}

function algorithmOf(kind: Kind, name: string, curve: string): KeyAlgorithm {
  return kind.operations === 'okp' ? { name } : { name, namedCurve: curve };
}

function isNamed(curve: string): boolean {
  return curve === 'P-256' || curve === 'P-384' || curve === 'P-521';
}

function curves(kind: Kind, operations: Family): Family {
  const { publicUsages, privateUsages } = kind;
  return {
    ...operations,
    generate(params, extractable, usages) {
      requireUsages(usages, [...publicUsages, ...privateUsages], params.name);
      const curve = curveOf(kind, params);
      if (kind.operations === 'ec' && !isNamed(curve)) throw unsupported(`The curve ${curve}`);
      const material = bytesBy(`${kind.operations}.generate`, { curve }, [random(seedBytes)]);
      const algorithm = algorithmOf(kind, params.name, curve);
      return {
        publicKey: {
          type: 'public', extractable: true, algorithm, usages: intersection(usages, publicUsages), material: publicPart(kind, curve, material),
        },
        privateKey: { type: 'private', extractable, algorithm, usages: intersection(usages, privateUsages), material },
      };
    },
    import(format, given, params, extractable, usages) {
      const isPrivate = format === 'pkcs8' || (format === 'jwk' && (given as Jwk).d !== undefined);
      const curve = curveOf(kind, params);
      if (format !== 'jwk' && format !== 'raw' && format !== 'spki' && format !== 'pkcs8') throw unsupported(`A key as ${format}`);
      if (kind.operations === 'ec' && !isNamed(curve)) throw dataError(`The curve ${curve} is none that is known`);
      requireUsages(usages, isPrivate ? privateUsages : publicUsages, params.name);
      const buffers = format === 'jwk' ? importJwk(kind, given as Jwk, curve, extractable, usages) : [given as Bytes];
      return {
        type: isPrivate ? 'private' : 'public',
        extractable,
        algorithm: algorithmOf(kind, params.name, curve),
        usages: intersection(usages, isPrivate ? privateUsages : publicUsages),
        material: bytesBy(`${kind.operations}.import`, { curve, format }, buffers),
      };
    },
    export(format, key) {
      const curve = curveOf(kind, key.algorithm);
      if (format === 'jwk') return exportJwk(kind, key, curve);
      const wanted = format === 'pkcs8' ? 'private' : 'public';
      if (key.type !== wanted) throw newDOMException(`A ${key.type} key cannot be exported as ${format}`, 'InvalidAccessError');
      return format === 'raw' ? key.material : bytesBy(`${kind.operations}.export`, { curve, format }, [key.material]);
    },
  };
}

function importJwk(kind: Kind, jwk: Jwk, curve: string, extractable: boolean, usages: readonly Usage[]): Bytes[] {
  checkJwk(jwk, kind.kty, kind.use, kind.algs(curve), extractable, usages);
  if (jwk.crv !== curve) throw dataError(`The JSON Web Key's crv is not ${curve}`);
  const size = fieldBytes(curve);
  const field = (name: TextMember): Bytes => {
    const bytes = bytesOfMember(jwk, name);
    if (bytes.length !== size) throw dataError(`The JSON Web Key's ${name} has not ${size} bytes`);
    return bytes;
  };
  const x = field('x');
  const coordinates = kind.operations === 'ec' ? [x, field('y')] : [x];
  return jwk.d === undefined ? coordinates : [...coordinates, field('d')];
}

function exportJwk(kind: Kind, key: KeyData, curve: string): object {
  const size = fieldBytes(curve);
  const members: Partial<Record<TextMember, string>> = { kty: kind.kty, crv: curve };
  const point = key.type === 'private' ? publicPart(kind, curve, key.material) : key.material;
  if (kind.operations === 'ec') {
    members.x = toBase64url(subarray(point, 1, 1 + size));
    members.y = toBase64url(subarray(point, 1 + size));
  } else {
    members.x = toBase64url(point);
    if (curve === 'Ed25519') members.alg = 'Ed25519';
  }
  if (key.type === 'private') members.d = toBase64url(subarray(key.material, 0, size));
  return writeJwk(key, members);
}

function requireType(key: KeyData, type: 'public' | 'private'): void {
  if (key.type !== type) throw newDOMException(`A ${key.type} key cannot be used for this: it takes a ${type} key`, 'InvalidAccessError');
}

/** What two keys have in common, or its first bits. */
function agree(operation: string, key: KeyData, other: CryptoKey, length: number | null): Bytes {
  requireType(key, 'private');
  const theirs = dataOf(other);
  requireType(theirs, 'public');
  const { name, namedCurve } = key.algorithm;
  if (theirs.algorithm.name !== name || theirs.algorithm.namedCurve !== namedCurve) {
    throw newDOMException('The two keys are not of the same algorithm and curve', 'InvalidAccessError');
  }
  const secret = bytesBy(operation, namedCurve === undefined ? {} : { curve: namedCurve }, [key.material, theirs.material]);
  if (length === null) return secret;
  if (length > secret.length * 8) throw newDOMException(`The keys have not ${length} bits in common`, 'OperationError');
  const part = copyOf(subarray(secret, 0, (length + 7) >> 3));
  dropBits(part, length);
  return part;
}

const es = (curve: string): readonly string[] => [curve === 'P-256' ? 'ES256' : curve === 'P-384' ? 'ES384' : 'ES512'];

export const ecdsa = curves({ ...signers, operations: 'ec', kty: 'EC', algs: es }, {
  sign(params, key, data) {
    requireType(key, 'private');
    return bytesBy('ecdsa.sign', { curve: key.algorithm.namedCurve, hash: params.hash }, [key.material, data]);
  },
  verify(params, key, signature, data) {
    requireType(key, 'public');
    return textBy('ecdsa.verify', { curve: key.algorithm.namedCurve, hash: params.hash }, [key.material, signature, data]) === 'true';
  },
});

export const ecdh = curves({ ...exchangers, operations: 'ec', kty: 'EC', algs: () => anyAlg }, {
  derive: (params, key, length) => agree('ec.derive', key, params.public as CryptoKey, length),
});

export const ed25519 = curves({ ...signers, operations: 'okp', kty: 'OKP', algs: () => ['Ed25519', 'EdDSA'] }, {
  sign(_params, key, data) {
    requireType(key, 'private');
    return bytesBy('ed25519.sign', {}, [key.material, data]);
  },
  verify(_params, key, signature, data) {
    requireType(key, 'public');
    return textBy('ed25519.verify', {}, [key.material, signature, data]) === 'true';
  },
});

export const x25519 = curves({ ...exchangers, operations: 'okp', kty: 'OKP', algs: () => anyAlg }, {
  derive: (params, key, length) => agree('okp.derive', key, params.public as CryptoKey, length),
});

// Tokens: their form, their signature, their time.

import { covers, isAddress } from './address.mjs';
import { text, unbase64url, utf8 } from './bytes.mjs';
import { keyOfDid } from './keys.mjs';
import { hmac, publicOf, verify } from './primitives.mjs';
import { same } from './bytes.mjs';

const METHODS = ['GET', 'LIST', 'WATCH', 'PUT', 'DELETE', 'EXECUTE'];
const CLAIMS = ['iss', 'sub', 'methods', 'exp', 'nbf', 'iat', 'jti', 'cnf', 'opens'];

// Why a token does not count; `reason` is what the vectors call it.
export class TokenError extends Error {
  constructor(reason, what = reason) {
    super(what);
    this.reason = reason;
  }
}

const check = (holds, what) => {
  if (!holds) throw new TokenError('malformed', what);
};

// The JSON object of a part: base64url without padding, UTF-8, no name twice.
function part(encoded) {
  const bytes = unbase64url(encoded);
  check(bytes, 'base64url');
  try {
    const json = text(bytes);
    const value = JSON.parse(json);
    const names = json.match(/"(?:[^"\\]|\\.)*"(?=\s*:)/g)?.length ?? 0;
    check(names === countNames(value), 'a name twice');
    check(value !== null && typeof value === 'object' && !Array.isArray(value), 'not an object');
    return value;
  } catch (error) {
    throw error instanceof TokenError ? error : new TokenError('malformed', 'JSON');
  }
}

function countNames(value) {
  if (value === null || typeof value !== 'object') return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum, inner) => sum + countNames(inner), own);
}

const onlyHas = (value, names) => Object.keys(value).every((name) => names.includes(name));
const whole = (value) => Number.isSafeInteger(value) && value >= 0;

function confirmationOf(cnf) {
  if (cnf === undefined) return null;
  check(cnf && onlyHas(cnf, ['jwk']) && cnf.jwk && onlyHas(cnf.jwk, ['kty', 'crv', 'x']), 'cnf');
  const { kty, crv, x } = cnf.jwk;
  check(kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string' && unbase64url(x)?.length === 32, 'cnf');
  return unbase64url(x);
}

function secretOf(value) {
  if (value === undefined) return null;
  const bytes = typeof value === 'string' ? unbase64url(value) : null;
  check(bytes?.length === 32, 'a secret of the fourth part');
  return bytes;
}

// Reads a token and checks its form, not its signature.
export async function parse(given) {
  check(utf8(given).length <= 8_192, 'too long');
  const parts = given.split('.');
  check(parts.length === 3 || parts.length === 4, 'three or four parts');
  const header = part(parts[0]);
  check(onlyHas(header, ['alg', 'typ']) && header.alg === 'EdDSA' && header.typ === 'JWT', 'header');
  const claims = part(parts[1]);
  check(onlyHas(claims, CLAIMS), 'an unknown claim');
  const { iss, sub, methods, exp, nbf, iat, jti } = claims;
  const issuer = keyOfDid(iss);
  check(issuer, 'iss');
  check(isAddress(sub), 'sub');
  check(Array.isArray(methods) && methods.length > 0 && new Set(methods).size === methods.length, 'methods');
  check(methods.every((method) => METHODS.includes(method)), 'methods');
  check(whole(exp) && exp <= 253_402_300_799, 'exp');
  check(nbf === undefined || (whole(nbf) && nbf < exp), 'nbf');
  check(iat === undefined || whole(iat), 'iat');
  check(typeof jti === 'string' && jti && utf8(jti).length <= 64 && !/[\u0000-\u001f\u007f-\u009f]/.test(jti), 'jti');
  const confirmation = confirmationOf(claims.cnf);
  const writes = methods.includes('PUT') || methods.includes('DELETE');
  check(writes === Boolean(confirmation), 'cnf exactly if it writes');
  const opens = claims.opens === undefined ? null : secretOf(claims.opens);
  check(!opens || methods.some((method) => method !== 'DELETE' && method !== 'EXECUTE'), 'opens exactly if it reads');
  const secrets = parts.length === 4 ? part(parts[3]) : {};
  check(onlyHas(secrets, ['read', 'key']), 'fourth part');
  const [read, key] = [secretOf(secrets.read), secretOf(secrets.key)];
  check(parts.length === 3 || !confirmation || key, 'the fourth part lacks the key');
  check(!key || (confirmation && same(await publicOf(key), confirmation)), 'another key than cnf');
  check(!read || (opens && same(await hmac(read, utf8('/token')), opens)), 'another read key than opens');
  const order = METHODS.filter((method) => methods.includes(method));
  return { publicText: parts.slice(0, 3).join('.'), parts, issuer, iss, sub, methods: order, exp, nbf, jti, confirmation, read, key };
}

// Whether a parsed token counts at a time.
export async function verifyAt(token, nowSeconds) {
  const [header, claims, signature] = token.parts;
  const bytes = unbase64url(signature);
  const good = bytes?.length === 64 && (await verify(token.issuer, utf8(`${header}.${claims}`), bytes));
  if (!good) throw new TokenError('signature');
  if (token.nbf !== undefined && nowSeconds < token.nbf) throw new TokenError('not yet valid');
  if (nowSeconds >= token.exp) throw new TokenError('expired');
}

export { covers };

// Access tokens: made, read and verified without a node (docs/formats.md, "Tokens").
//
// The first three parts of a token are a JWT and public; the fourth, where there is one, is secret. Reading checks the form alone: a token
// counts for nothing before its signature and its time are verified. A claim that is not known is refused, since it could be a restriction.

import { covers, isAddress, parseAddress } from './address.js';
import { type Bytes, base64url, equal, text as textOf, unbase64url, utf8 } from './bytes.js';
import { publicOf, randomBytes, verify } from './crypto.js';
import { InvalidError } from './invalid.js';
import { keyOfDid } from './owner.js';
import { ReadKey } from './read_key.js';

/** What a token can grant: the table in docs/http.md, "Credentials". */
export type Method = 'GET' | 'LIST' | 'WATCH' | 'PUT' | 'DELETE' | 'EXECUTE';

const METHODS: readonly Method[] = ['GET', 'LIST', 'WATCH', 'PUT', 'DELETE', 'EXECUTE'];
const CLAIMS = ['iss', 'sub', 'methods', 'exp', 'nbf', 'iat', 'jti', 'cnf', 'opens'];
const BYTES_MAX = 8_192;
const JTI_BYTES_MAX = 64;
/** Times past the year 9999 are mistakes. */
const TIME_S_MAX = 253_402_300_799;
const LIFETIME_S = 7 * 86_400;

/** What a token is to say. */
export interface MintOptions {
  /** The address that it is for, in its normal form (`Jsfs.address` gives it); everything below it where it ends in `/`. */
  subject: string;
  /** What it grants; at least one method. */
  methods: readonly Method[];
  /** When it ends; seven days from now unless said otherwise. */
  expires?: Date;
  /** When it begins to count; at once unless said otherwise. */
  notBefore?: Date;
  /**
   * The read key of `subject`, or of a directory above it (`Jsfs.readKey`). Without it the token opens nothing that is private. It
   * is left out of tokens that only delete or execute.
   */
  readKey?: ReadKey;
}

interface Claims {
  iss: string;
  sub: string;
  methods: Method[];
  exp: number;
  nbf?: number;
  jti: string;
  cnf?: { jwk: { kty: 'OKP'; crv: 'Ed25519'; x: string } };
  /** What the read key in the fourth part must match: a bearer cannot put another in its place. */
  opens?: string;
}

/** Makes and signs a token of an owner. @internal */
export async function mint(
  owner: string,
  sign: (message: Bytes) => Promise<Bytes>,
  { subject, methods, expires, notBefore, readKey }: MintOptions,
): Promise<AccessToken> {
  const unknown = methods.find((method) => !METHODS.includes(method));
  check(unknown === undefined, `there is no method ${unknown}`);
  const claims: Claims = {
    iss: owner,
    sub: parseAddress(subject),
    methods: METHODS.filter((method) => methods.includes(method)),
    exp: expires ? wholeSeconds(expires) : wholeSeconds(new Date()) + LIFETIME_S,
    ...(notBefore && { nbf: wholeSeconds(notBefore) }),
    jti: base64url(randomBytes(16)),
  };
  const secrets: { read?: string; key?: string } = {};
  if (readKey && reads(claims.methods)) {
    const own = await readKey.below(subject);
    secrets.read = own.text;
    claims.opens = base64url(await own.mark());
  }
  if (writes(claims.methods)) {
    const key = randomBytes(32);
    claims.cnf = { jwk: { kty: 'OKP', crv: 'Ed25519', x: base64url(await publicOf(key)) } };
    secrets.key = base64url(key);
  }
  const signed = `${encode({ alg: 'EdDSA', typ: 'JWT' })}.${encode(claims)}`;
  const jwt = `${signed}.${base64url(await sign(utf8(signed)))}`;
  return AccessToken.parse(Object.keys(secrets).length > 0 ? `${jwt}.${encode(secrets)}` : jwt);
}

/** A token whose form was checked. */
export class AccessToken {
  /** Who made it: the owner `did:key:z…`. */
  readonly issuer: string;
  /** The address that it is for; everything below it where it ends in `/`. */
  readonly subject: string;
  /** What it grants. */
  readonly methods: readonly Method[];
  /** When it ends. */
  readonly expires: Date;
  /** When it begins to count, or null. */
  readonly notBefore: Date | null;
  /** Its id, by which it is revoked. */
  readonly jti: string;
  /** The three parts that are no secret: what a node keeps of it. They alone open nothing private and write nothing. */
  readonly publicText: string;
  /** The read key that came in the fourth part, or null. */
  readonly readKey: ReadKey | null;
  readonly #text: string;
  readonly #confirmation: Bytes | null;
  readonly #opens: Bytes | null;
  readonly #key: Bytes | null;

  private constructor(text: string, claims: Claims, publicText: string, { read, key }: Secrets) {
    this.issuer = claims.iss;
    this.subject = claims.sub;
    this.methods = METHODS.filter((method) => claims.methods.includes(method));
    this.expires = new Date(claims.exp * 1_000);
    this.notBefore = claims.nbf === undefined ? null : new Date(claims.nbf * 1_000);
    this.jti = claims.jti;
    this.publicText = publicText;
    this.readKey = read && new ReadKey(claims.sub, read);
    this.#text = text;
    this.#confirmation = claims.cnf ? unbase64url(claims.cnf.jwk.x) : null;
    this.#opens = claims.opens === undefined ? null : unbase64url(claims.opens);
    this.#key = key;
  }

  /** Reads a token of three or four parts; an {@link InvalidError} with the reason `malformed` where the text is none. */
  static async parse(text: string): Promise<AccessToken> {
    check(utf8(text).length <= BYTES_MAX, `it is longer than ${BYTES_MAX} bytes`);
    const [header = '', claims = '', signature = '', fourth, ...more] = text.split('.');
    check(text.split('.').length >= 3 && more.length === 0, 'it has three parts, or four, with dots between');
    checkHeader(part(header));
    const read = readClaims(part(claims));
    const secrets = fourth === undefined ? { read: null, key: null } : readSecrets(part(fourth));
    check(fourth === undefined || !read.cnf || secrets.key !== null, 'its fourth part lacks the key to sign with');
    const token = new AccessToken(text, read, `${header}.${claims}.${signature}`, secrets);
    await token.#checkKeys();
    return token;
  }

  /** The whole text, for its bearer alone: a secret where {@link readKey} is there or it can write. */
  get text(): string {
    return this.#text;
  }

  /** The public key, 32 bytes, that signs what the token writes; null for one that does not write. @internal */
  get confirmation(): Uint8Array | null {
    return this.#confirmation;
  }

  /** The secret half of {@link confirmation}, where it came along. @internal */
  get key(): Uint8Array | null {
    return this.#key;
  }

  /** Whether its subject is an address, or a directory above it. A place of another owner in between ends its reach. */
  covers(address: string): boolean {
    return covers(this.subject, address);
  }

  /**
   * Checks signature and time. That the issuer owns the subject, and has not revoked the token, only a node can tell.
   *
   * @throws {@link InvalidError} with the reason `signature`, `not yet valid` or `expired`.
   */
  async verify(now: Date = new Date()): Promise<void> {
    const [header, claims, encoded = ''] = this.publicText.split('.');
    const signature = unbase64url(encoded);
    const issuer = keyOfDid(this.issuer);
    const isSigned = issuer && signature?.length === 64 && (await verify(issuer, utf8(`${header}.${claims}`), signature));
    if (!isSigned) throw new InvalidError('signature', 'the token is not signed by the key that it names as its issuer');
    if (this.notBefore && now < this.notBefore) {
      throw new InvalidError('not yet valid', `the token is not valid before ${this.notBefore.toISOString()}`);
    }
    if (now >= this.expires) throw new InvalidError('expired', `the token expired at ${this.expires.toISOString()}`);
  }

  async #checkKeys(): Promise<void> {
    if (this.#key) {
      const matches = this.#confirmation !== null && equal(await publicOf(this.#key), this.#confirmation);
      check(matches, 'the key in its fourth part is not the one that it names (cnf)');
    }
    if (this.readKey) {
      const matches = this.#opens !== null && equal(await this.readKey.mark(), this.#opens);
      check(matches, 'the read key in its fourth part is not the one that it names (opens)');
    }
  }
}

interface Secrets {
  read: Bytes | null;
  key: Bytes | null;
}

type Json = Record<string, unknown>;

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new InvalidError('malformed', `the token is malformed: ${what}`);
}

function encode(value: object): string {
  return base64url(utf8(JSON.stringify(value)));
}

/** The JSON object of a part: base64url without padding, UTF-8, no name twice. */
function part(encoded: string): Json {
  const bytes = unbase64url(encoded);
  check(bytes !== null, 'a part is not base64url');
  let value: unknown;
  let names = 0;
  try {
    const json = textOf(bytes);
    value = JSON.parse(json);
    names = json.match(/"(?:[^"\\]|\\.)*"(?=\s*:)/g)?.length ?? 0;
  } catch {
    check(false, 'a part is not JSON');
  }
  check(isJson(value) && names === countNames(value), 'a part is no object, or has a name twice');
  return value;
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function countNames(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((sum, inner) => sum + countNames(inner), own);
}

function onlyHas(value: Json, names: readonly string[]): boolean {
  return Object.keys(value).every((name) => names.includes(name));
}

function checkHeader(header: Json): void {
  const isOurs = onlyHas(header, ['alg', 'typ']) && header['alg'] === 'EdDSA' && header['typ'] === 'JWT';
  check(isOurs, 'its header is not {"alg":"EdDSA","typ":"JWT"}');
}

function readClaims(claims: Json): Claims {
  check(onlyHas(claims, CLAIMS), 'it has a claim that is not known');
  const { iss, sub, methods, exp, nbf, iat, jti, cnf, opens } = claims;
  check(typeof iss === 'string' && keyOfDid(iss) !== null, 'its issuer is not a did:key of an Ed25519 key');
  check(isAddress(sub), 'its subject is not an address in its normal form');
  check(isMethods(methods), 'its methods are not a choice of those that exist');
  check(isTime(exp) && exp <= TIME_S_MAX, 'its end is not in whole seconds');
  check(nbf === undefined || (isTime(nbf) && nbf < exp), 'its beginning does not lie before its end');
  check(iat === undefined || isTime(iat), 'the time at which it was made is not in whole seconds');
  check(isId(jti), `its id has not 1 to ${JTI_BYTES_MAX} bytes of text`);
  check(cnf === undefined || isConfirmation(cnf), 'the key that signs what it writes (cnf) is none');
  check(writes(methods) === (cnf !== undefined), 'it names a key to sign with (cnf) exactly if it grants PUT or DELETE');
  check(opens === undefined || (isSecret(opens) && reads(methods)), 'it names a read key (opens) only if it reads');
  return {
    iss,
    sub,
    methods,
    exp,
    jti,
    ...(nbf !== undefined && { nbf }),
    ...(cnf !== undefined && { cnf }),
    ...(opens !== undefined && { opens }),
  };
}

function isMethods(value: unknown): value is Method[] {
  if (!Array.isArray(value) || value.length === 0 || new Set(value).size !== value.length) return false;
  return value.every((method) => METHODS.some((known) => known === method));
}

function writes(methods: readonly Method[]): boolean {
  return methods.includes('PUT') || methods.includes('DELETE');
}

/** Whether using it needs the read key. */
function reads(methods: readonly Method[]): boolean {
  return methods.some((method) => method !== 'DELETE' && method !== 'EXECUTE');
}

function isSecret(value: unknown): value is string {
  return typeof value === 'string' && unbase64url(value)?.length === 32;
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isId(value: unknown): value is string {
  if (typeof value !== 'string' || value === '' || utf8(value).length > JTI_BYTES_MAX) return false;
  return !/[\u0000-\u001f\u007f-\u009f]/.test(value);
}

function isConfirmation(value: unknown): value is NonNullable<Claims['cnf']> {
  if (!isJson(value) || !onlyHas(value, ['jwk']) || !isJson(value['jwk'])) return false;
  const { kty, crv, x, ...more } = value['jwk'];
  if (kty !== 'OKP' || crv !== 'Ed25519' || Object.keys(more).length > 0) return false;
  return typeof x === 'string' && unbase64url(x)?.length === 32;
}

function readSecrets(fourth: Json): Secrets {
  check(onlyHas(fourth, ['read', 'key']), 'its fourth part has more than read and key');
  return { read: secret(fourth['read']), key: secret(fourth['key']) };
}

function secret(value: unknown): Bytes | null {
  if (value === undefined) return null;
  const bytes = typeof value === 'string' ? unbase64url(value) : null;
  check(bytes?.length === 32, 'a secret of its fourth part does not have 32 bytes');
  return bytes;
}

function wholeSeconds(time: Date): number {
  return Math.floor(time.getTime() / 1_000);
}

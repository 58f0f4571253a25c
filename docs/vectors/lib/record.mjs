// Manifests, content, records and envelopes: read strictly, and made from a description.

import { isAddress } from '../../../sdk/js/dist/address.js';
import { keyOfDid } from '../../../sdk/js/dist/owner.js';
import { AccessToken } from '../../../sdk/js/dist/token.js';
import { parentOf } from './address.mjs';
import { concat, same, u64, unhex, utf8 } from './bytes.mjs';
import { decode, encode } from './cbor.mjs';
import { privateLocator, publicLocator } from './keys.mjs';
import { blake3, hkdf, openGcm, verify } from './primitives.mjs';

const check = (holds, what) => {
  if (!holds) throw new Error(what);
};

const isBytes = (length) => (value) => value instanceof Uint8Array && value.length === length;
const isUint = (value) => typeof value === 'bigint';
const isText = (limit) => (value) => typeof value === 'string' && utf8(value).length <= limit;
const isBool = (value) => typeof value === 'boolean';
const isList = (limit, item) => (value) => Array.isArray(value) && value.length <= limit && value.every(item);
const isTuple = (...items) => (value) =>
  Array.isArray(value) && value.length === items.length && items.every((item, index) => item(value[index]));

function fields(value, what, shape, needed) {
  check(value instanceof Map, `${what} is not a map`);
  for (const [key, inner] of value) check(shape[key]?.(inner), `${what}: field ${key}`);
  for (const key of needed) check(value.has(key), `${what}: field ${key} is missing`);
  return value;
}

// --- manifests ---------------------------------------------------------------------------------------------------------------

const blockKey = (value) => value === null || isBytes(32)(value);
const chunk = (value) =>
  isTuple(isUint, isUint, isBytes(32))(value) && value[1] > 0n && value[0] + value[1] <= 1n << 20n;
const extent = isTuple(isBytes(32), blockKey, (value) => isList(Infinity, chunk)(value) && value.length > 0);
const page = isTuple(isBytes(32), blockKey, (value) => isUint(value) && value > 0n);

// Checks a manifest or page and gives the number of bytes below it.
export function manifestLength(value) {
  check(encode(value).length <= 65_536, 'a manifest is too large');
  check(Array.isArray(value) && value.length === 2 && isUint(value[0]) && value[0] <= 8n, 'a manifest');
  const [level, items] = value;
  check(isList(Infinity, level === 0n ? extent : page)(items), 'the items of a manifest');
  const lengths = items.flatMap((item) => (level === 0n ? item[2].map(([, length]) => length) : [item[2]]));
  const length = lengths.reduce((sum, next) => sum + next, 0n);
  check(length < 1n << 64n && (level === 0n || length > 0n), 'the length of a manifest');
  return length;
}

export function describedManifest({ level, items }) {
  const secret = (key) => key && unhex(key);
  const item = ({ block, key, chunks, length }) => [
    unhex(block),
    secret(key),
    level === 0 ? chunks.map((one) => [one.offset, one.length, unhex(one.hash)]) : BigInt(length),
  ];
  return [level, items.map(item)];
}

// --- content -----------------------------------------------------------------------------------------------------------------

const CONTENT = {
  1: (value) => isAddress(value) && !value.endsWith('/'),
  2: isUint,
  3: isText(1_024),
  4: isBytes(16),
  5: isUint,
  6: isUint,
  7: isBool,
  8: isBytes(32),
  9: Array.isArray,
};

export function checkContent(value) {
  const content = fields(value, 'content', CONTENT, [1, 2, 3, 4, 5, 6, 7, 9]);
  check(manifestLength(content.get(9)) === content.get(2), 'the size is not that of the manifest');
  return content;
}

export function describedContent(content) {
  const map = new Map([
    [1, content.address],
    [2, BigInt(content.size)],
    [3, content.content_type],
    [4, unhex(content.etag)],
    [5, BigInt(content.created_ms)],
    [6, BigInt(content.modified_ms)],
    [7, content.executable],
    [9, describedManifest(content.manifest)],
  ]);
  if (content.sha256) map.set(8, unhex(content.sha256));
  return map;
}

// --- records -----------------------------------------------------------------------------------------------------------------

const TERMS = { 1: isBytes(32), 2: isBytes(32), 3: isBytes(32), 4: isUint, 5: isUint };
const POLICY = {
  1: isBool,
  2: (value) => value === 0n || value === 1n,
  3: isUint,
  4: isTuple(isUint, isUint),
  5: isList(256, isText(253)),
  6: (value) => isList(4_096, isTuple(isText(64), isUint))(value) && value.length > 0,
};
const RECORD = {
  1: (value) => [1n, 2n, 3n].includes(value),
  2: isBytes(32),
  3: isBytes(32),
  4: isBytes(32),
  5: (value) => isUint(value) && value > 0n,
  6: (value) => isUint(value) && value > 0n,
  7: isUint,
  8: isBytes(32),
  9: (value) => isList(1_024, isBytes(32))(value) && value.length > 0,
  10: (value) => Boolean(checkContent(value)),
  11: (value) => value instanceof Uint8Array,
  12: (value) => isList(64, isTuple(isUint, isBytes(40)))(value) && value.length > 0,
  13: (value) => isTuple((terms) => terms instanceof Uint8Array, isBytes(64))(value) && Boolean(termsOf(value)),
  14: (value) => Boolean(fields(value, 'a policy', POLICY, [])),
  15: (value) => value === true,
};

const termsOf = ([terms]) => fields(decode(terms), 'a delegation', TERMS, [1, 2, 3, 4, 5]);

// The map of a record, refused if it is none.
export function readRecord(bytes) {
  check(bytes.length <= 512 * 1_024, 'a record is too large');
  const record = fields(decode(bytes), 'a record', RECORD, [1, 2, 3, 4, 5, 6, 7]);
  const kind = record.get(1);
  check((kind === 1n) === (record.has(10) !== record.has(11)), 'content exactly once, in objects');
  check(kind === 1n || !(record.has(10) || record.has(11) || record.has(9)), 'only objects have content and blocks');
  check(kind === 2n || !record.has(14), 'only directories have a policy');
  check(kind === 3n || !record.has(15), 'only tombstones are purged');
  const epochs = (record.get(12) ?? [[record.get(5)]]).map(([epoch]) => epoch);
  check(epochs[0] === record.get(5), 'the newest epoch of a place');
  check(epochs.every((epoch, index) => index === 0 || epoch < epochs[index - 1]), 'the order of epochs');
  if (record.has(10)) {
    const address = record.get(10).get(1);
    check(same(record.get(2), publicLocator(address)), 'the locator of a public object');
    check(same(record.get(3), publicLocator(parentOf(address))), 'the group of a public object');
  }
  if (record.has(13)) {
    const terms = termsOf(record.get(13));
    check(same(terms.get(3), record.get(4)) && terms.get(4) <= record.get(5), 'a delegation of something else');
  }
  return record;
}

export const delegationVerifies = async (record) => {
  if (!record.has(13)) return true;
  const [terms, signature] = record.get(13);
  return verify(termsOf(record.get(13)).get(2), concat('jsfs/v1/delegation', terms), signature);
};

// The bytes of the sealed content, or null.
export async function openRecord(record, readKey) {
  if (!same(await privateLocator(readKey), record.get(2))) return null;
  const sealed = record.get(11);
  const key = await hkdf(readKey, 'jsfs/v1/record', sealed.subarray(0, 32));
  const bound = concat(record.get(2), record.get(4), u64(record.get(5)), u64(record.get(6)));
  return openGcm(key, bound, sealed.subarray(32));
}

const hybrid = (ms, counter) => BigInt(ms) * 65_536n + BigInt(counter);

function describedPolicy(policy) {
  const map = new Map();
  const note = (key, value) => value !== undefined && map.set(key, value);
  note(1, policy.private);
  note(2, policy.create && (policy.create === 'anyone' ? 1n : 0n));
  note(3, policy.quota === undefined ? undefined : BigInt(policy.quota));
  note(4, policy.retention?.map(BigInt));
  note(5, policy.hosts);
  note(6, policy.revoked?.map(([jti, expires]) => [jti, BigInt(expires)]));
  return map;
}

function describedTerms({ place, from, to, epoch, time_ms, time_counter }) {
  return new Map([
    [1, unhex(place)],
    [2, keyOfDid(from)],
    [3, keyOfDid(to)],
    [4, BigInt(epoch)],
    [5, hybrid(time_ms, time_counter)],
  ]);
}

// The record of a description. The signature of a delegation cannot be made anew here: it is taken from `kept` and verified elsewhere.
export function describedRecord(record, kept) {
  const map = new Map([
    [1, BigInt(record.kind)],
    [2, unhex(record.locator)],
    [3, unhex(record.group)],
    [4, keyOfDid(record.owner)],
    [5, BigInt(record.epoch)],
    [6, BigInt(record.version)],
    [7, hybrid(record.time_ms, record.time_counter)],
  ]);
  const note = (key, value) => value !== undefined && map.set(key, value);
  note(8, record.predecessor && unhex(record.predecessor));
  note(9, record.blocks?.map(unhex));
  note(10, record.content && describedContent(record.content));
  note(11, record.sealed && unhex(record.sealed));
  note(12, record.place?.map(({ epoch, wrapped }) => [BigInt(epoch), unhex(wrapped)]));
  note(13, record.delegation && [encode(describedTerms(record.delegation)), kept.get(13)[1]]);
  note(14, record.policy && describedPolicy(record.policy));
  note(15, record.purged);
  return map;
}

// --- envelopes ---------------------------------------------------------------------------------------------------------------

// Why an envelope is not believed; `reason` is what the vectors call it.
export class EnvelopeError extends Error {
  constructor(reason, what = reason) {
    super(what);
    this.reason = reason;
  }
}

const isEnvelope = isTuple(
  (version) => version === 1n,
  (record) => record instanceof Uint8Array,
  isBytes(64),
  (proof) => proof === null || isText(8_192)(proof),
  isTuple(isBytes(32), isUint, isBytes(64)),
);

async function authorOf(proof, record, acceptedMs) {
  if (proof === null) return { author: record.get(4), token: null };
  try {
    const token = await AccessToken.parse(proof);
    check(token.text === token.publicText, 'a proof has three parts');
    await token.verify(new Date(Number(acceptedMs)));
    if (!same(keyOfDid(token.issuer), record.get(4))) throw new EnvelopeError('signature', 'the token of another');
    const kind = record.get(1);
    if (kind === 2n || record.has(15)) throw new EnvelopeError('beyond tokens');
    if (!token.methods.includes(kind === 1n ? 'PUT' : 'DELETE')) throw new EnvelopeError('token', 'its methods');
    const address = record.get(10)?.get(1);
    if (address && !token.covers(address)) throw new EnvelopeError('token', 'its subject');
    return { author: token.confirmation, token };
  } catch (error) {
    throw error instanceof EnvelopeError ? error : new EnvelopeError('token', error.message);
  }
}

export async function verifyEnvelope(bytes, nowMs) {
  let envelope, record;
  try {
    envelope = decode(bytes);
    check(isEnvelope(envelope), 'an envelope');
    record = readRecord(envelope[1]);
  } catch (error) {
    throw new EnvelopeError('format', error.message);
  }
  const [, recordBytes, signature, proof, [node, acceptedMs, countersignature]] = envelope;
  const { author, token } = await authorOf(proof, record, acceptedMs);
  if (!(await verify(author, concat('jsfs/v1/record', recordBytes), signature))) throw new EnvelopeError('signature');
  const accepted = concat('jsfs/v1/accepted', blake3(recordBytes, signature), u64(acceptedMs));
  if (!(await verify(node, accepted, countersignature))) throw new EnvelopeError('countersignature');
  if (!(await delegationVerifies(record))) throw new EnvelopeError('delegation');
  const [now, time] = [BigInt(nowMs), record.get(7) >> 16n];
  if (time > now + 60_000n || acceptedMs > now + 60_000n || time > acceptedMs + 60_000n) throw new EnvelopeError('ahead');
  return { recordBytes, token, node, acceptedMs };
}

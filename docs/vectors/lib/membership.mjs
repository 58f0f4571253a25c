// Certificates, revocations and tickets (docs/protocols/membership.md), read and judged, and where blocks lie (docs/protocols/blockstore.md).

import { unbase58 } from '../../../sdk/js/dist/bytes.js';
import { concat, hex, same, unhex, utf8 } from './bytes.mjs';
import * as cbor from './cbor.mjs';
import { blake3, verify } from './primitives.mjs';

const SKEW_MS = 60_000n;
const [STORE, ADMIN, KNOWN] = [4n, 16n, 31n];

const must = (holds, what) => {
  if (!holds) throw new Error(what);
};

const isBytes = (value, length) => value instanceof Uint8Array && value.length === length;
const isNumber = (value) => typeof value === 'bigint';
const hasKeys = (map, count) => map instanceof Map && map.size === count && [...map.keys()].every((key, at) => key === at + 1);

function signed(value) {
  must(Array.isArray(value) && value.length === 2 && value[0] instanceof Uint8Array && isBytes(value[1], 64), 'not signed');
  return { bytes: value[0], map: cbor.decode(value[0]), signature: value[1] };
}

function certificate(value) {
  const { bytes, map, signature } = signed(value);
  must(hasKeys(map, 8), 'fields of a certificate');
  const [federation, peer, roles, space, from, expires, epoch, issuer] = map.values();
  must([federation, peer, issuer].every((key) => isBytes(key, 32)), 'keys of a certificate');
  must([roles, space, from, expires, epoch].every(isNumber), 'numbers of a certificate');
  must((roles & ~KNOWN) === 0n && epoch > 0n && from < expires && space <= 1n << 24n, 'values of a certificate');
  must(space === 0n || (roles & STORE) !== 0n, 'space without role');
  must((roles & ADMIN) === 0n || same(issuer, federation), 'an admin by an admin');
  const id = { federation: hex(federation), peer: hex(peer), issuer: hex(issuer) };
  return { ...id, roles, from, expires, epoch, issuerKey: issuer, bytes, signature };
}

export function readCredential(bytes) {
  const value = cbor.decode(bytes);
  must(Array.isArray(value) && value.length === 2, 'not a credential');
  return { own: certificate(value[0]), issuer: value[1] && certificate(value[1]) };
}

async function holds(of, federation, now, revoked) {
  if (of.federation !== federation) return 'federation';
  if (!(await verify(of.issuerKey, concat('jsfs/v1/certificate', of.bytes), of.signature))) return 'signature';
  if (now + SKEW_MS < of.from) return 'early';
  if (now >= of.expires) return 'expired';
  return revoked(of) ? 'revoked' : null;
}

// `member`, or in one word why not. `revokedEpoch` is what the authority revoked of the peer itself.
export async function judge(bytes, { federation, peer, now, revokedEpoch }) {
  const { own, issuer } = readCredential(bytes);
  const revoked = (of) => of.peer === peer && of.epoch <= revokedEpoch;
  if (own.peer !== peer) return 'peer';
  const why = await holds(own, federation, now, revoked);
  if (why) return why;
  if (own.issuer === federation) return issuer ? 'signature' : 'member';
  const named = issuer && issuer.peer === own.issuer && issuer.issuer === federation && (issuer.roles & ADMIN) !== 0n;
  if (!named) return 'signature';
  return (await holds(issuer, federation, now, revoked)) ?? 'member';
}

export async function readRevocation(encoding) {
  const { bytes, map, signature } = signed(cbor.decode(encoding));
  must(hasKeys(map, 4), 'fields of a revocation');
  const [federation, peer, epoch, issuer] = map.values();
  must([federation, peer, issuer].every((key) => isBytes(key, 32)) && isNumber(epoch), 'values of a revocation');
  must(await verify(issuer, concat('jsfs/v1/revocation', bytes), signature), 'signature of a revocation');
  return { federation: hex(federation), peer: hex(peer), epoch, issuer: hex(issuer), encoding: undefined };
}

export function readTicket(text) {
  const bytes = text.startsWith('jsfs-ticket_') && unbase58(text.slice('jsfs-ticket_'.length));
  must(bytes && bytes.length > 4, 'not a ticket');
  const [body, checksum] = [bytes.subarray(0, -4), bytes.subarray(-4)];
  must(same(blake3(utf8('jsfs/v1/ticket'), body).subarray(0, 4), checksum), 'checksum of a ticket');
  const map = cbor.decode(body);
  must(hasKeys(map, 4), 'fields of a ticket');
  const [federation, secret, addresses, expires] = map.values();
  must(isBytes(federation, 32) && isBytes(secret, 32) && isNumber(expires), 'values of a ticket');
  must(addresses.length >= 1 && addresses.length <= 8, 'addresses of a ticket');
  const digest = hex(blake3(utf8('jsfs/v1/invitation'), secret));
  return { federation: hex(federation), secret: hex(secret), addresses, expires_ms: expires, digest };
}

function cost(draw) {
  const whole = BigInt((draw + 1n).toString(2).length - 1);
  let mantissa = whole > 63n ? (draw + 1n) >> (whole - 63n) : (draw + 1n) << (63n - whole);
  let log = whole;
  for (let bit = 0; bit < 32; bit += 1) {
    mantissa = (mantissa * mantissa) >> 63n;
    const high = mantissa >= 1n << 64n;
    log = 2n * log + (high ? 1n : 0n);
    if (high) mantissa >>= 1n;
  }
  return (64n << 32n) - log;
}

// The sites for a block, best first.
export function place(block, sites) {
  const lots = sites.map(({ peer, space }) => {
    const draw = BigInt(`0x${hex(blake3(utf8('jsfs/v1/placement'), block, unhex(peer)).subarray(0, 8))}`);
    return { peer, space: BigInt(space), cost: cost(draw) };
  });
  const before = (a, b) => {
    const [mine, theirs] = [a.cost * b.space, b.cost * a.space];
    return mine < theirs || (mine === theirs && a.peer < b.peer) ? -1 : 1;
  };
  return lots.sort(before).map(({ peer }) => peer);
}

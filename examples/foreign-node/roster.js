// Who is a member (docs/protocols/membership.md): items, each signed by whom it is to be believed.

import { createPublicKey, verify } from 'node:crypto';
import { blake3 } from '@noble/hashes/blake3.js';
import { base58btc } from 'multiformats/bases/base58';
import { decode, encode } from './cbor.js';

const SKEW_MS = 60_000;
const ADMIN = 16;
const READERS = 1 + 2 + 4 + 8;

export const hash = (...parts) => Buffer.from(blake3(Buffer.concat(parts.map((part) => Buffer.from(part)))));
const hex = (bytes) => Buffer.from(bytes).toString('hex');

function isSigned(key, label, body, signature) {
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key]);
  const message = Buffer.concat([Buffer.from(label), body]);
  return verify(null, message, createPublicKey({ key: spki, format: 'der', type: 'spki' }), signature);
}

export function readTicket(line) {
  if (!line.startsWith('jsfs-ticket_')) throw new Error('a ticket begins with jsfs-ticket_');
  const bytes = base58btc.decode(`z${line.trim().slice('jsfs-ticket_'.length)}`);
  const [body, checksum] = [bytes.subarray(0, -4), bytes.subarray(-4)];
  if (!hash('jsfs/v1/ticket', body).subarray(0, 4).equals(checksum)) throw new Error('a part of the ticket is missing or wrong');
  const [federation, secret, addresses, expires] = decode(body).values();
  return { federation, secret, addresses, expires };
}

function certificate([body, signature]) {
  const [federation, peer, roles, space, from, expires, epoch, issuer] = decode(body).values();
  const good = isSigned(issuer, 'jsfs/v1/certificate', body, signature);
  return { federation: hex(federation), peer: hex(peer), roles, space, from, expires, epoch, issuer: hex(issuer), good };
}

export class Roster {
  #kept = new Map();

  constructor(federation) {
    this.federation = hex(federation);
  }

  // Takes an item in if it is to be believed; says whether it told anything new.
  add(bytes) {
    const [kind, body] = decode(bytes);
    const about = [null, this.#member, this.#announcement, this.#charter, this.#dismissal][kind]?.call(this, body);
    if (!about) return false;
    const held = this.#kept.get(about.subject);
    if (held && (held.rank > about.rank || (held.rank === about.rank && Buffer.compare(held.bytes, bytes) >= 0))) return false;
    this.#kept.set(about.subject, { ...about, kind, bytes: Buffer.from(bytes), mark: hash('jsfs/v1/roster-item', bytes).subarray(0, 8) });
    return true;
  }

  #credential([own, issuer], now) {
    const [mine, theirs] = [certificate(own), issuer && certificate(issuer)];
    const holds = (one) => one.good && one.federation === this.federation && now + SKEW_MS >= one.from && now < one.expires;
    const direct = mine.issuer === this.federation;
    const named = () => holds(theirs) && theirs.peer === mine.issuer && theirs.issuer === this.federation && theirs.roles & ADMIN;
    return holds(mine) && (direct ? theirs === null : theirs && named()) ? { mine, theirs } : null;
  }

  #member(body) {
    const told = this.#credential(body, Date.now());
    return told && { subject: `1${told.mine.peer}`, rank: told.mine.epoch, ...told, body };
  }

  #announcement([body, signature]) {
    const [federation, peer, sequence, addresses] = decode(body).values();
    const good = hex(federation) === this.federation && isSigned(peer, 'jsfs/v1/announcement', body, signature);
    const known = this.#kept.has(`1${hex(peer)}`) && sequence <= Date.now() + SKEW_MS;
    return good && known && { subject: `2${hex(peer)}`, rank: sequence, addresses };
  }

  #charter([body, signature]) {
    const [federation, sequence, name] = decode(body).values();
    const good = hex(federation) === this.federation && isSigned(federation, 'jsfs/v1/charter', body, signature);
    return good && sequence <= Date.now() + SKEW_MS && { subject: '0', rank: sequence, name };
  }

  #dismissal([[body, signature], admin, target]) {
    const [federation, peer, epoch, issuer] = decode(body).values().map((value) => (typeof value === 'number' ? value : hex(value)));
    if (federation !== this.federation || !isSigned(Buffer.from(issuer, 'hex'), 'jsfs/v1/revocation', body, signature)) return null;
    const asOfThen = (credential) => credential && this.#credential(credential, certificate(credential[0]).from);
    const [by, of] = [asOfThen(admin), asOfThen(target)];
    const counts = () => of && of.mine.peer === peer && epoch <= of.mine.epoch;
    const byAdmin = () => by && by.mine.peer === issuer && by.mine.roles & ADMIN && counts() && !(of.mine.roles & ADMIN);
    const may = issuer === federation ? !admin && !target : issuer === peer ? !admin && counts() : byAdmin();
    const adminEpoch = issuer === federation || issuer === peer ? null : by?.mine.epoch;
    return may && { subject: `3${peer} ${issuer} ${adminEpoch}`, rank: epoch, peer, epoch, issuer, adminEpoch };
  }

  #isCovered(peer, epoch) {
    const all = [...this.#kept.values()].filter(({ kind }) => kind === 4);
    const of = (who, at) => all.filter((one) => one.peer === who && at <= one.epoch);
    return of(peer, epoch).some((one) => one.adminEpoch === null || !of(one.issuer, one.adminEpoch).some((above) => above.adminEpoch === null));
  }

  // Whether a peer is a member, now, and may ask for blocks.
  reads(peer) {
    const held = this.#kept.get(`1${hex(peer)}`);
    const holds = (one) => Date.now() < one.expires && !this.#isCovered(one.peer, one.epoch);
    return Boolean(held && holds(held.mine) && (!held.theirs || holds(held.theirs)) && held.mine.roles & READERS);
  }

  // Addresses that members announced, by peer.
  addresses() {
    return [...this.#kept.values()].filter(({ kind }) => kind === 2).map(({ subject, addresses }) => ({ peer: subject.slice(1), addresses }));
  }

  // Members before what is said of them.
  items() {
    return [...this.#kept].sort(([one], [two]) => (one < two ? -1 : 1)).map(([, { bytes }]) => bytes);
  }

  marks() {
    return [...this.#kept.values()].map(({ mark }) => mark).sort(Buffer.compare);
  }

  digest() {
    return hash('jsfs/v1/roster', ...this.marks());
  }

  // What who knows these marks lacks, and the marks that are lacking here.
  difference(marks) {
    const [theirs, ours] = [new Set(marks.map(hex)), new Set(this.marks().map(hex))];
    const items = this.items().filter((bytes) => !theirs.has(hex(hash('jsfs/v1/roster-item', bytes).subarray(0, 8))));
    return { items, wanted: marks.filter((mark) => !ours.has(hex(mark))) };
  }

  wanted(marks) {
    const asked = new Set(marks.map(hex));
    return this.items().filter((bytes) => asked.has(hex(hash('jsfs/v1/roster-item', bytes).subarray(0, 8))));
  }

  credential(peer) {
    return this.#kept.get(`1${hex(peer)}`)?.body;
  }

  announcementOf(peer) {
    const held = this.#kept.get(`2${hex(peer)}`);
    return held ? decode(held.bytes)[1] : null;
  }
}

export const item = (kind, body) => encode([kind, body]);

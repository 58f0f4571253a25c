// Addresses: what a request names, and which texts are addresses.

import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import { text, utf8 } from './bytes.mjs';

const BYTES_MAX = 4_096;

// Why a text is no address; `reason` is what the vectors call it.
export class AddressError extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

const fail = (reason) => {
  throw new AddressError(reason);
};

const reverse = (name) => name.split('.').reverse().join('.');

const refuseControls = (path) => (/[\u0000-\u001f\u007f-\u009f]/.test(path) ? fail('control') : path);

function decodePath(raw) {
  if (/[?#]/.test(raw)) fail('query');
  if (/%(?![0-9a-fA-F]{2})/.test(raw)) fail('escape');
  const bytes = [];
  for (let at = 0; at < raw.length; ) {
    if (raw[at] === '%') {
      bytes.push(Number.parseInt(raw.slice(at + 1, at + 3), 16));
      at += 3;
    } else {
      const letter = String.fromCodePoint(raw.codePointAt(at));
      bytes.push(...utf8(letter));
      at += letter.length;
    }
  }
  try {
    return refuseControls(text(Uint8Array.from(bytes)));
  } catch (error) {
    throw error instanceof AddressError ? error : new AddressError('not utf-8');
  }
}

function normalise(path) {
  const segments = [];
  let directory = true;
  for (const segment of path.split('/')) {
    directory = ['', '.', '..'].includes(segment);
    if (segment === '..') segments.pop();
    else if (!directory) segments.push(segment);
  }
  return { segments, directory };
}

const isHost = (name) => name.length <= 253 && name.split('.').every((label) => /^[a-z0-9_-]{1,63}$/.test(label));

// Names that are ASCII already need no mapping; `domainToASCII` would take some of them for IP addresses, as URLs do.
function toAscii(name) {
  const mapped = /^[\x21-\x7e]*$/.test(name) && !/xn--/i.test(name) ? name.toLowerCase() : domainToASCII(name);
  return isHost(mapped) ? mapped : fail('host');
}

// A reversed name in ASCII becomes a namespace.
function namespaceOf(reversed) {
  const name = reversed.replace(/^(localhost\.)+/, '');
  if (isIPv4(reverse(name))) return 'localhost';
  const top = name.split('.')[0];
  return /^[0-9]+$|^0x/.test(top) ? fail('host') : name;
}

const namespaceOfReversed = (reversed) => (reversed ? namespaceOf(toAscii(reversed)) : fail('no namespace'));

function namespaceOfHost(host) {
  const isPort = (digits) => Number(digits) <= 65535;
  const brackets = /^\[([^\]%]*)(?:%[^\]]*)?\](?::([0-9]{0,5}))?$/.exec(host);
  if (brackets) return isIPv6(brackets[1]) && isPort(brackets[2] ?? '') ? 'localhost' : fail('host');
  if (isIPv6(host)) return 'localhost';
  const [, name, port = ''] = /^([^:[\]]*?)\.?(?::([0-9]{0,5}))?$/.exec(host) ?? fail('host');
  return name && isPort(port) ? namespaceOf(reverse(toAscii(name))) : fail('host');
}

function assemble(namespace, { segments, directory }) {
  const [first = ''] = segments;
  if (first.toLowerCase() === '.jsfs' || (namespace === 'jsfs' && first.startsWith('.'))) fail('reserved');
  const path = segments.map((segment) => '/' + segment).join('');
  const address = '/' + namespace + path + (directory || !segments.length ? '/' : '');
  return utf8(address).length > BYTES_MAX ? fail('too long') : address;
}

export function fromRequest(host, rawPath) {
  const path = decodePath(rawPath);
  if (!path.startsWith('/')) fail('not absolute');
  const { segments, directory } = normalise(path.slice(1));
  const [first = '', ...rest] = segments;
  if (first.toLowerCase() === '.jsfs') fail('reserved');
  if (!first.startsWith('.')) return assemble(namespaceOfHost(host), { segments, directory });
  return assemble(namespaceOfReversed(first.slice(1)), { segments: rest, directory });
}

// The text, if it is an address in its normal form.
export function parseExact(given) {
  refuseControls(given);
  if (!given.startsWith('/')) fail('not absolute');
  const [namespace, ...path] = given.slice(1).split('/');
  const address = assemble(namespaceOfReversed(namespace), normalise(path.join('/')));
  return address === given ? address : fail('not normal');
}

export const isAddress = (given) => {
  try {
    return typeof given === 'string' && parseExact(given) === given;
  } catch {
    return false;
  }
};

export const covers = (prefix, address) => address === prefix || (prefix.endsWith('/') && address.startsWith(prefix));

// The directory that an address lies in; '/' for a namespace.
export const parentOf = (address) => address.slice(0, address.replace(/\/$/, '').lastIndexOf('/') + 1);

export const hostOf = (address) => reverse(address.split('/')[1]);

const escape = (path) =>
  Array.from(path, (letter) =>
    /[A-Za-z0-9\-._~/!$&'()*+,;=:@]/.test(letter)
      ? letter
      : Array.from(utf8(letter), (byte) => '%' + byte.toString(16).toUpperCase().padStart(2, '0')).join(''),
  ).join('');

export const absolutePathOf = (address) => '/.' + escape(address.slice(1));

export function pathOf(address) {
  const path = address.slice(address.indexOf('/', 1));
  return path.startsWith('/.') ? absolutePathOf(address) : escape(path);
}

// Addresses: the one name of an object or directory, `/com.example.files/a/b.txt` (docs/formats.md, "Addresses").
//
// An address begins with its namespace, a host name with the labels reversed; it ends in `/` exactly if it names a directory. Two
// addresses are the same exactly if their texts are.

import { utf8 } from './bytes.js';
import { InvalidError } from './invalid.js';

const BYTES_MAX = 4_096;

/** The segments of a path, `.`, `..` and empty ones resolved, and whether it names a directory. */
export interface Segments {
  segments: string[];
  directory: boolean;
}

/** The address that a URL means. An {@link InvalidError} where it can be none. */
export function addressOf(url: URL): string {
  const { segments, directory } = normalise(refuseControls(decodeURIComponent(url.pathname)).slice(1));
  const [first = '', ...rest] = segments;
  if (!first.startsWith('.') || isReserved(first)) {
    return assemble(namespaceOfHost(url.hostname), { segments, directory });
  }
  return assemble(namespaceOfReversed(first.slice(1)), { segments: rest, directory });
}

/** The text, if it is an address in its normal form; else an {@link InvalidError}. */
export function parseAddress(given: string): string {
  refuseControls(given);
  if (!given.startsWith('/')) throw invalid('not absolute', 'an address begins with /');
  const [namespace = '', ...path] = given.slice(1).split('/');
  const address = assemble(namespaceOfReversed(namespace), normalise(path.join('/')));
  if (address !== given) throw invalid('not normal', `the normal form of the address is ${address}`);
  return address;
}

/** Whether a text is an address in its normal form. */
export function isAddress(given: unknown): given is string {
  try {
    return typeof given === 'string' && parseAddress(given) === given;
  } catch {
    return false;
  }
}

/** Whether an address is `top`, or lies below it where `top` ends in `/`. */
export function covers(top: string, address: string): boolean {
  return address === top || (top.endsWith('/') && address.startsWith(top));
}

/** @internal */
export function refuseControls(path: string): string {
  if (/[\u0000-\u001f\u007f-\u009f]/.test(path)) throw invalid('control', 'an address holds no control characters');
  return path;
}

/** Resolves a path, given without its first `/`. @internal */
export function normalise(path: string): Segments {
  const segments: string[] = [];
  let directory = true;
  for (const segment of path.split('/')) {
    directory = segment === '' || segment === '.' || segment === '..';
    if (segment === '..') segments.pop();
    else if (!directory) segments.push(segment);
  }
  return { segments, directory };
}

/** @internal */
export function assemble(namespace: string, { segments, directory }: Segments): string {
  const [first = ''] = segments;
  if (isReserved(first) || (namespace === 'jsfs' && first.startsWith('.'))) {
    throw invalid('reserved', 'nothing can be stored below /.jsfs');
  }
  const path = segments.map((segment) => `/${segment}`).join('');
  const address = `/${namespace}${path}${directory || segments.length === 0 ? '/' : ''}`;
  if (utf8(address).length > BYTES_MAX) throw invalid('too long', `an address has at most ${BYTES_MAX} bytes`);
  return address;
}

function isReserved(segment: string): boolean {
  return segment.toLowerCase() === '.jsfs';
}

// A host as `URL` gives it: ASCII, in lower case, IP addresses in their canonical form.
function namespaceOfHost(hostname: string): string {
  const isIpAddress = hostname.startsWith('[') || /^[0-9.]+$/.test(hostname);
  return isIpAddress ? 'localhost' : namespaceOf(reverse(hostname.replace(/\.$/, '')));
}

/** The namespace of a text that claims to be one. @internal */
export function namespaceOfReversed(reversed: string): string {
  if (reversed === '') throw invalid('no namespace', 'an address begins with a namespace, as in /com.example/name');
  return namespaceOf(toAscii(reversed));
}

/** The namespace of a host name in ASCII with its labels reversed. @internal */
export function namespaceOf(reversed: string): string {
  const name = reversed.replace(/^(localhost\.)+/, '');
  if (isIpv4(reverse(name))) return 'localhost';
  if (/^([0-9]+|0x[^.]*)(\.|$)/.test(name)) throw invalid('host', 'the top label of a host is not a number');
  return name;
}

/** @internal */
export function reverse(name: string): string {
  return name.split('.').reverse().join('.');
}

function isIpv4(host: string): boolean {
  return /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/.test(host);
}

/**
 * A host name, in either order of its labels, in ASCII (UTS 46). Names that are ASCII already need no mapping, and `URL` would take some
 * of them for IP addresses.
 * @internal
 */
export function toAscii(name: string): string {
  const isPlain = /^[\x21-\x7e]*$/.test(name) && !/xn--/i.test(name);
  const mapped = isPlain ? name.toLowerCase() : mappedByUrl(name);
  const isHost = mapped.length <= 253 && mapped.split('.').every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
  if (!isHost) throw invalid('host', 'the namespace is not a host name');
  return mapped;
}

function mappedByUrl(name: string): string {
  try {
    return /[\s/?#@:\\[\]%]/.test(name) ? '' : new URL(`http://${name}`).hostname;
  } catch {
    return '';
  }
}

function invalid(reason: string, message: string): InvalidError {
  return new InvalidError(reason, message);
}

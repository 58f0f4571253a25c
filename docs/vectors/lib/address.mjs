// What a request names: the part of addresses that only a node needs. The SDK has the rest.

import { isIPv6 } from 'node:net';
import * as sdk from '../../../sdk/js/dist/address.js';
import { InvalidError } from '../../../sdk/js/dist/invalid.js';
import { text, utf8 } from './bytes.mjs';

const fail = (reason) => {
  throw new InvalidError(reason, reason);
};

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
    return sdk.refuseControls(text(Uint8Array.from(bytes)));
  } catch (error) {
    throw error instanceof InvalidError ? error : new InvalidError('not utf-8', 'not utf-8');
  }
}

function namespaceOfHost(host) {
  const isPort = (digits) => Number(digits) <= 65535;
  const brackets = /^\[([^\]%]*)(?:%[^\]]*)?\](?::([0-9]{0,5}))?$/.exec(host);
  if (brackets) return isIPv6(brackets[1]) && isPort(brackets[2] ?? '') ? 'localhost' : fail('host');
  if (isIPv6(host)) return 'localhost';
  const [, name, port = ''] = /^([^:[\]]*?)\.?(?::([0-9]{0,5}))?$/.exec(host) ?? fail('host');
  return name && isPort(port) ? sdk.namespaceOf(sdk.reverse(sdk.toAscii(name))) : fail('host');
}

export function fromRequest(host, rawPath) {
  const path = decodePath(rawPath);
  if (!path.startsWith('/')) fail('not absolute');
  const { segments, directory } = sdk.normalise(path.slice(1));
  const [first = '', ...rest] = segments;
  if (first.toLowerCase() === '.jsfs') fail('reserved');
  if (!first.startsWith('.')) return sdk.assemble(namespaceOfHost(host), { segments, directory });
  return sdk.assemble(sdk.namespaceOfReversed(first.slice(1)), { segments: rest, directory });
}

// The directory that an address lies in; '/' for a namespace.
export const parentOf = (address) => address.slice(0, address.replace(/\/$/, '').lastIndexOf('/') + 1);

export const hostOf = (address) => sdk.reverse(address.split('/')[1]);

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

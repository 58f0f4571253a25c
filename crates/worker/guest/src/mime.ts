// MIME types: MIME Sniffing Standard, section 4, as far as headers need them.

import { append, regexpExec, stringCharCodeAt, stringIndexOf, stringSlice, stringToLowerCase } from './primordials.ts';

export interface MimeType {
  /** Type and subtype, in lower case. */
  essence: string;
  parameters: [name: string, value: string][];
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const quotable = /^[\t\x20-\x7e\x80-\xff]*$/;

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

function trim(text: string, start = true): string {
  let from = 0;
  let to = text.length;
  if (start) while (from < to && isSpace(stringCharCodeAt(text, from))) from++;
  while (to > from && isSpace(stringCharCodeAt(text, to - 1))) to--;
  return stringSlice(text, from, to);
}

export function parseMime(input: string): MimeType | undefined {
  const text = trim(input);
  let at = stringIndexOf(text, ';');
  if (at < 0) at = text.length;
  const slash = stringIndexOf(text, '/');
  if (slash < 0 || slash > at) return undefined;
  const type = stringSlice(text, 0, slash);
  const subtype = trim(stringSlice(text, slash + 1, at), false);
  if (regexpExec(token, type) === null || regexpExec(token, subtype) === null) return undefined;
  const mime: MimeType = { essence: stringToLowerCase(`${type}/${subtype}`), parameters: [] };
  while (at < text.length) {
    at++;
    while (at < text.length && isSpace(stringCharCodeAt(text, at))) at++;
    let end = at;
    while (end < text.length && text[end] !== ';' && text[end] !== '=') end++;
    const name = stringToLowerCase(stringSlice(text, at, end));
    at = end;
    if (at >= text.length) break;
    if (text[at] === ';') continue;
    at++;
    let value: string;
    if (text[at] === '"') {
      const quoted = parseQuoted(text, at);
      value = quoted.value;
      at = quoted.end;
      while (at < text.length && text[at] !== ';') at++;
    } else {
      end = at;
      while (end < text.length && text[end] !== ';') end++;
      value = trim(stringSlice(text, at, end), false);
      at = end;
      if (value === '') continue;
    }
    if (regexpExec(token, name) !== null && regexpExec(quotable, value) !== null && parameterOf(mime, name) === undefined) {
      append(mime.parameters, [name, value]);
    }
  }
  return mime;
}

/** A quoted string from its first quote: what it says, and where it ends. */
function parseQuoted(text: string, start: number): { value: string; end: number } {
  let value = '';
  let at = start + 1;
  while (at < text.length) {
    const character = text[at++] as string;
    if (character === '"') break;
    if (character === '\\' && at < text.length) value += text[at++];
    else value += character;
  }
  return { value, end: at };
}

export function parameterOf(mime: MimeType, name: string): string | undefined {
  for (let i = 0; i < mime.parameters.length; i++) {
    const parameter = mime.parameters[i] as [string, string];
    if (parameter[0] === name) return parameter[1];
  }
  return undefined;
}

export function serializeMime(mime: MimeType): string {
  let text = mime.essence;
  for (let i = 0; i < mime.parameters.length; i++) {
    const [name, value] = mime.parameters[i] as [string, string];
    text += `;${name}=`;
    if (regexpExec(token, value) !== null) {
      text += value;
      continue;
    }
    text += '"';
    for (let k = 0; k < value.length; k++) {
      const character = value[k] as string;
      text += character === '"' || character === '\\' ? `\\${character}` : character;
    }
    text += '"';
  }
  return text;
}

/** "Extract a MIME type": of all the values of a Content-Type header, combined. Fetch Standard, section 2.2.2. */
export function extractMime(combined: string | null): MimeType | undefined {
  if (combined === null) return undefined;
  let found: MimeType | undefined;
  let charset: string | undefined;
  let essence = '';
  const values = splitHeader(combined);
  for (let i = 0; i < values.length; i++) {
    const mime = parseMime(values[i] as string);
    if (mime === undefined || mime.essence === '*/*') continue;
    found = mime;
    if (mime.essence !== essence) {
      essence = mime.essence;
      charset = parameterOf(mime, 'charset');
    } else if (parameterOf(mime, 'charset') === undefined && charset !== undefined) {
      append(mime.parameters, ['charset', charset]);
    }
  }
  return found;
}

/** "Get, decode, and split": at commas that are not inside of quotes. */
function splitHeader(text: string): string[] {
  const values: string[] = [];
  let from = 0;
  let at = 0;
  while (at < text.length) {
    if (text[at] === '"') {
      at = parseQuoted(text, at).end;
      continue;
    }
    if (text[at] === ',') {
      append(values, stringSlice(text, from, at));
      from = at + 1;
    }
    at++;
  }
  append(values, stringSlice(text, from));
  return values;
}

// FormData (XMLHttpRequest Standard, section 5), and the two encodings of a form as a body: multipart/form-data (RFC 7578, HTML 4.10.21.8) and
// application/x-www-form-urlencoded.

import { bytesOf, isBlob, isFile, lastModifiedOf, nameOf, newFile, typeOf, type Blob, type File } from './blob.ts';
import { utf8Encode } from './encoding.ts';
import type { Host } from './host.ts';
import {
  append, arraySplice, bufferOf, concat, stringCharCodeAt, stringIndexOf, stringSlice, stringToLowerCase, uncurry,
} from './primordials.ts';
import { parseUrlencoded, type Pair } from './url.ts';
import { defineInterface, definePairIterable, requireArguments, toUSVString } from './webidl.ts';

type Entry = [name: string, value: string | File];

const { fromCharCode } = String;
const NativeUint8Array = Uint8Array;
const indexOf = uncurry(Uint8Array.prototype.indexOf as (this: Uint8Array, byte: number, from?: number) => number);
const bytesSlice = uncurry(Uint8Array.prototype.slice as (this: Uint8Array, from: number, to?: number) => Uint8Array<ArrayBuffer>);

let host: Host;

/** The list that the object stands for: read it, don't keep it. */
export let entriesOf: (form: FormData) => readonly Entry[];
export let isFormData: (value: unknown) => value is FormData;
let formOf: (entries: Entry[]) => FormData;

export class FormData {
  #entries: Entry[] = [];

  static {
    entriesOf = (form) => form.#entries;
    isFormData = (value): value is FormData => typeof value === 'object' && value !== null && #entries in value;
    formOf = (entries) => {
      const form = new FormData();
      form.#entries = entries;
      return form;
    };
  }

  constructor(form: unknown = undefined, submitter: unknown = undefined) {
    // Both are elements of a document, of which there are none here.
    if (form !== undefined || (submitter !== undefined && submitter !== null)) {
      throw new TypeError('FormData constructor: the form is not an HTMLFormElement');
    }
  }

  append(name: string, value: unknown, filename: unknown = undefined): void {
    requireArguments(arguments.length, 2, 'FormData.append');
    append(this.#entries, toEntry(name, value, filename, arguments.length, 'FormData.append'));
  }

  delete(name: string): void {
    const entries = this.#entries;
    requireArguments(arguments.length, 1, 'FormData.delete');
    const wanted = toUSVString(name);
    const kept: Entry[] = [];
    for (let i = 0; i < entries.length; i++) if ((entries[i] as Entry)[0] !== wanted) append(kept, entries[i] as Entry);
    this.#entries = kept;
  }

  get(name: string): string | File | null {
    const entries = this.#entries;
    requireArguments(arguments.length, 1, 'FormData.get');
    const wanted = toUSVString(name);
    for (let i = 0; i < entries.length; i++) if ((entries[i] as Entry)[0] === wanted) return (entries[i] as Entry)[1];
    return null;
  }

  getAll(name: string): (string | File)[] {
    const entries = this.#entries;
    requireArguments(arguments.length, 1, 'FormData.getAll');
    const wanted = toUSVString(name);
    const values: (string | File)[] = [];
    for (let i = 0; i < entries.length; i++) if ((entries[i] as Entry)[0] === wanted) append(values, (entries[i] as Entry)[1]);
    return values;
  }

  has(name: string): boolean {
    const entries = this.#entries;
    requireArguments(arguments.length, 1, 'FormData.has');
    const wanted = toUSVString(name);
    for (let i = 0; i < entries.length; i++) if ((entries[i] as Entry)[0] === wanted) return true;
    return false;
  }

  set(name: string, value: unknown, filename: unknown = undefined): void {
    const entries = this.#entries;
    requireArguments(arguments.length, 2, 'FormData.set');
    const entry = toEntry(name, value, filename, arguments.length, 'FormData.set');
    let found = false;
    for (let i = 0; i < entries.length; ) {
      if ((entries[i] as Entry)[0] !== entry[0]) i++;
      else if (found) arraySplice(entries, i, 1);
      else {
        found = true;
        entries[i++] = entry;
      }
    }
    if (!found) append(entries, entry);
  }
}

function toEntry(name: unknown, value: unknown, filename: unknown, given: number, what: string): Entry {
  // With a file name it is the overload that takes a blob; without one a blob is a blob, and all else is a string.
  const hasName = given > 2 && filename !== undefined;
  const entryName = toUSVString(name);
  if (!isBlob(value)) {
    if (given > 2) throw new TypeError(`${what}: the value is not a Blob`);
    return [entryName, toUSVString(value)];
  }
  if (hasName) return [entryName, fileOf(value, toUSVString(filename))];
  return [entryName, isFile(value) ? value : fileOf(value, 'blob')];
}

function fileOf(blob: Blob, name: string): File {
  return isFile(blob) ? newFile(bytesOf(blob), typeOf(blob), name, lastModifiedOf(blob)) : newFile(bytesOf(blob), typeOf(blob), name);
}

// Written as a body

/**
 * The form as multipart/form-data, and the content type that says so. The boundary is the hash of the contents, which cannot be in them and is
 * the same if a run is repeated.
 */
export function serializeFormData(form: FormData): { bytes: Uint8Array<ArrayBuffer>; type: string } {
  const entries = entriesOf(form);
  const heads: Uint8Array[] = [];
  const bodies: Uint8Array[] = [];
  for (let i = 0; i < entries.length; i++) {
    const name = (entries[i] as Entry)[0];
    const value = (entries[i] as Entry)[1];
    let head = `\r\nContent-Disposition: form-data; name="${escapeName(withCrLf(name))}"`;
    if (typeof value === 'string') {
      append(bodies, utf8Encode(withCrLf(value)));
    } else {
      head += `; filename="${escapeName(nameOf(value))}"\r\nContent-Type: ${typeOf(value) || 'application/octet-stream'}`;
      append(bodies, bytesOf(value));
    }
    append(heads, utf8Encode(`${head}\r\n\r\n`));
  }
  const boundary = `----formdata-${hashOf(concat([concat(heads), concat(bodies)]))}`;
  const delimiter = utf8Encode(`--${boundary}`);
  const lineEnd = utf8Encode('\r\n');
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < heads.length; i++) {
    append(pieces, delimiter);
    append(pieces, heads[i] as Uint8Array);
    append(pieces, bodies[i] as Uint8Array);
    append(pieces, lineEnd);
  }
  append(pieces, utf8Encode(`--${boundary}--\r\n`));
  return { bytes: concat(pieces), type: `multipart/form-data; boundary=${boundary}` };
}

function hashOf(bytes: Uint8Array<ArrayBuffer>): string {
  const digest = new NativeUint8Array(host.crypto('digest', '{"hash":"SHA-256"}', bufferOf(bytes)) as ArrayBuffer);
  let text = '';
  for (let i = 0; i < 16; i++) text += hexDigit((digest[i] as number) >> 4) + hexDigit((digest[i] as number) & 15);
  return text;
}

function hexDigit(value: number): string {
  return stringSlice('0123456789abcdef', value, value + 1);
}

function escapeName(name: string): string {
  let result = '';
  for (let i = 0; i < name.length; i++) {
    const code = stringCharCodeAt(name, i);
    result += code === 0x0a ? '%0A' : code === 0x0d ? '%0D' : code === 0x22 ? '%22' : fromCharCode(code);
  }
  return result;
}

/** Every line ending as CR LF. */
function withCrLf(text: string): string {
  if (stringIndexOf(text, '\n') < 0 && stringIndexOf(text, '\r') < 0) return text;
  let result = '';
  for (let i = 0; i < text.length; i++) {
    const code = stringCharCodeAt(text, i);
    if (code === 0x0d) {
      if (stringCharCodeAt(text, i + 1) === 0x0a) i++;
      result += '\r\n';
    } else result += code === 0x0a ? '\r\n' : fromCharCode(code);
  }
  return result;
}

// Read from a body

/** The form in a body of one of the two types. Throws TypeError if it is of another, or malformed. */
export function parseFormData(bytes: Uint8Array, contentType: string): FormData {
  const type = parseType(contentType);
  if (type.essence === 'application/x-www-form-urlencoded') {
    return formOf(parseUrlencoded(host.decode('utf-8', bufferOf(bytes), false, true)) as Pair[] as Entry[]);
  }
  if (type.essence !== 'multipart/form-data') throw new TypeError(`The body is no form: its type is '${contentType}'`);
  const boundary = type.parameters.boundary;
  if (boundary === undefined || boundary === '') throw new TypeError('The body is no form: its type has no boundary');
  return formOf(parseMultipart(bytes, utf8Encode(`--${boundary}`)));
}

function parseMultipart(body: Uint8Array, delimiter: Uint8Array): Entry[] {
  const entries: Entry[] = [];
  let at = find(body, delimiter, 0, true);
  if (at < 0) throw malformed('its boundary is not in it');
  for (;;) {
    at += delimiter.length;
    if (body[at] === 0x2d && body[at + 1] === 0x2d) return entries;
    at = skipSpaces(body, at);
    if (body[at] !== 0x0d || body[at + 1] !== 0x0a) throw malformed('a boundary is not followed by a line end');
    at += 2;
    const head = parseHead(body, at);
    const end = find(body, delimiter, head.end, false);
    if (end < 0) throw malformed('a part has no end');
    // The line end before a boundary belongs to the boundary.
    const content = bytesSlice(body, head.end, end - 2 < head.end ? head.end : end - 2);
    if (head.filename === undefined) append(entries, [head.name, host.decode('utf-8', bufferOf(content), false, true)]);
    else append(entries, [head.name, newFile(content, head.type ?? 'text/plain', head.filename)]);
    at = end;
  }
}

interface Head {
  name: string;
  filename: string | undefined;
  type: string | undefined;
  /** Where the content begins. */
  end: number;
}

function parseHead(body: Uint8Array, from: number): Head {
  let at = from;
  let name: string | undefined;
  let filename: string | undefined;
  let type: string | undefined;
  for (;;) {
    const end = indexOf(body, 0x0d, at);
    if (end < 0 || body[end + 1] !== 0x0a) throw malformed("a part's header has no end");
    const line = host.decode('utf-8', bufferOf(bytesSlice(body, at, end)), false, true);
    at = end + 2;
    if (line === '') break;
    const colon = stringIndexOf(line, ':');
    if (colon < 1) throw malformed("a part's header is none");
    const field = stringToLowerCase(trim(stringSlice(line, 0, colon)));
    const value = trim(stringSlice(line, colon + 1));
    if (field === 'content-type') type = value;
    if (field !== 'content-disposition') continue;
    const disposition = parseParameters(value, unescapeName);
    if (disposition.essence !== 'form-data') throw malformed('a part is no field of a form');
    name = disposition.parameters.name;
    filename = disposition.parameters.filename;
  }
  if (name === undefined) throw malformed('a part has no name');
  return { name, filename, type, end: at };
}

/** Where the delimiter stands at the beginning of a line, or -1. */
function find(body: Uint8Array, delimiter: Uint8Array, from: number, first: boolean): number {
  if (matchesAt(body, delimiter, from) && (first || from > 0)) return from;
  for (let at = indexOf(body, 0x0d, from > 1 ? from - 2 : 0); at >= 0; at = indexOf(body, 0x0d, at + 1)) {
    if (body[at + 1] === 0x0a && at + 2 >= from && matchesAt(body, delimiter, at + 2)) return at + 2;
  }
  return -1;
}

function matchesAt(body: Uint8Array, wanted: Uint8Array, at: number): boolean {
  if (at + wanted.length > body.length) return false;
  for (let i = 0; i < wanted.length; i++) if (body[at + i] !== wanted[i]) return false;
  return true;
}

function skipSpaces(body: Uint8Array, from: number): number {
  let at = from;
  while (body[at] === 0x20 || body[at] === 0x09) at++;
  return at;
}

function malformed(why: string): TypeError {
  return new TypeError(`The body is no form: ${why}`);
}

interface Parsed {
  essence: string;
  parameters: { boundary?: string; name?: string; filename?: string };
}

function parseType(text: string): Parsed {
  return parseParameters(text, (value) => value);
}

/** `essence; name=value; name="value"`, in which a quoted value is passed through `unquote`. */
function parseParameters(text: string, unquote: (value: string) => string): Parsed {
  let at = stringIndexOf(text, ';');
  const essence = stringToLowerCase(trim(at < 0 ? text : stringSlice(text, 0, at)));
  const parameters: Parsed['parameters'] = { __proto__: null } as Parsed['parameters'];
  while (at >= 0 && at < text.length) {
    const equals = stringIndexOf(text, '=', at);
    if (equals < 0) break;
    const semicolon = stringIndexOf(text, ';', at + 1);
    if (semicolon >= 0 && semicolon < equals) {
      at = semicolon;
      continue;
    }
    const name = stringToLowerCase(trim(stringSlice(text, at + 1, equals)));
    let value: string;
    if (stringCharCodeAt(text, equals + 1) === 0x22) {
      let end = equals + 2;
      while (end < text.length && stringCharCodeAt(text, end) !== 0x22) end += stringCharCodeAt(text, end) === 0x5c ? 2 : 1;
      value = unquote(stringSlice(text, equals + 2, end));
      at = stringIndexOf(text, ';', end);
    } else {
      at = stringIndexOf(text, ';', equals);
      value = trim(at < 0 ? stringSlice(text, equals + 1) : stringSlice(text, equals + 1, at));
    }
    if (name === 'boundary') parameters.boundary ??= value;
    else if (name === 'name') parameters.name ??= value;
    else if (name === 'filename') parameters.filename ??= value;
  }
  return { essence, parameters };
}

/** What `escapeName` and other writers of forms do to a name, undone. */
function unescapeName(text: string): string {
  let result = '';
  for (let i = 0; i < text.length; i++) {
    const code = stringCharCodeAt(text, i);
    if (code === 0x5c && stringCharCodeAt(text, i + 1) === 0x22) continue;
    const escape = code === 0x25 ? stringSlice(text, i + 1, i + 3) : '';
    const meant = escape === '0A' || escape === '0a' ? '\n' : escape === '0D' || escape === '0d' ? '\r' : escape === '22' ? '"' : undefined;
    result += meant ?? fromCharCode(code);
    if (meant !== undefined) i += 2;
  }
  return result;
}

function trim(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isSpace(stringCharCodeAt(text, from))) from++;
  while (to > from && isSpace(stringCharCodeAt(text, to - 1))) to--;
  return stringSlice(text, from, to);
}

function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}

export function install(global: object, theHost: Host): void {
  host = theHost;
  defineInterface(global, 'FormData', FormData);
  definePairIterable(FormData, 'FormData', entriesOf);
}


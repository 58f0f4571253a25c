// The public face of the package.

export type { Body, Progress } from './body.js';
export { ConnectionError, JsfsError, type Problem } from './error.js';
export { InvalidError } from './invalid.js';
export { Jsfs } from './jsfs.js';
export { AccessKey } from './key.js';
export type { DirectoryEntry, Entry, ObjectEntry, Page, Policy } from './listing.js';
export { type ContentRange, type Metadata, type ObjectInfo, StoredObject, type Tree, type Version } from './object.js';
export type {
  AppendOptions,
  ByteRange,
  Cancellable,
  ChangeOptions,
  ConditionalGetOptions,
  CopyOptions,
  DeleteOptions,
  GetOptions,
  HeadOptions,
  JsfsOptions,
  ListOptions,
  PageOptions,
  PropertyChange,
  PutOptions,
  RequestOptions,
  TokenOptions,
} from './options.js';
export { ReadKey } from './read_key.js';
export { AccessToken, type Method, type MintOptions } from './token.js';

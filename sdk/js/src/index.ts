// The public face of the package.

export type { Body, Progress } from './body.js';
export { Connection, type Params } from './connection.js';
export { ConnectionError, JsfsError, type Problem } from './error.js';
export { InvalidError } from './invalid.js';
export { Jsfs } from './jsfs.js';
export { AccessKey } from './key.js';
export type { DirectoryEntry, Entry, ObjectEntry, Page, Policy } from './listing.js';
export { type Change, type Reset, Watch, type WatchEvent, type WatchOptions } from './live.js';
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
export type { Sliceable, UploadOptions, Uploaded } from './upload.js';
export type { WebSocketConstructor, WebSocketLike } from './websocket.js';

// What a node tells about objects: headers of a read, metadata of a write, versions. Wire names become ours here and nowhere else.

import { hex, unbase64 } from './bytes.js';

/** What is known of an object, or of one version of it. */
export interface ObjectInfo {
  /** Where it was read. */
  url: string;
  /** From 1. */
  version: number;
  /** The entity tag, without quotes. */
  etag: string;
  /** Media type. */
  contentType: string;
  /** Bytes of the whole object; null where the answer came compressed and so did not tell. */
  size: number | null;
  /** To the second. */
  modified: Date;
  /** Whether reading needs a credential. */
  private: boolean;
  /** SHA-256 of the whole object in hex; null after an append, and where the answer came compressed. */
  sha256: string | null;
}

/** Which bytes came of how many; the end is not included. */
export interface ContentRange {
  start: number;
  end: number;
  size: number;
}

/** An object and its bytes, which can be taken once. */
export class StoredObject implements ObjectInfo {
  readonly url: string;
  readonly version: number;
  readonly etag: string;
  readonly contentType: string;
  readonly size: number | null;
  readonly modified: Date;
  readonly private: boolean;
  readonly sha256: string | null;
  /** Which bytes these are, where a range was asked for and given; else null, and they are all. */
  readonly range: ContentRange | null;
  readonly #response: Response;

  /** @internal */
  constructor(info: ObjectInfo, range: ContentRange | null, response: Response) {
    this.url = info.url;
    this.version = info.version;
    this.etag = info.etag;
    this.contentType = info.contentType;
    this.size = info.size;
    this.modified = info.modified;
    this.private = info.private;
    this.sha256 = info.sha256;
    this.range = range;
    this.#response = response;
  }

  /** The bytes as they arrive. The stream fails where the node finds damage on the way or the connection breaks. */
  get body(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#response.body ?? new Blob([]).stream();
  }

  /** All bytes, once the last has come. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await this.#response.arrayBuffer());
  }

  /** All bytes, with the media type. */
  blob(): Promise<Blob> {
    return this.#response.blob();
  }

  /** The bytes as UTF-8. */
  text(): Promise<string> {
    return this.#response.text();
  }

  /** The bytes as JSON; a `SyntaxError` where they are none. */
  async json(): Promise<unknown> {
    return this.#response.json();
  }
}

/** What a write made. */
export interface Metadata {
  url: string;
  /** The object's one name, `/com.example/a/b.txt`. */
  address: string;
  /** From 1. */
  version: number;
  /** The entity tag, without quotes. */
  etag: string;
  /** Media type. */
  contentType: string;
  /** Bytes. */
  size: number;
  /** SHA-256 in hex; null after an append. */
  sha256: string | null;
  /** When its first version was written. */
  created: Date;
  /** When this version was written. */
  modified: Date;
  /** Whether reading needs a credential. */
  private: boolean;
  executable: boolean;
  /** `did:key:z…` */
  owner: string;
  /** The blocks that hold its bytes, at most the first 1,024; sizes in bytes. */
  blocks: { hash: string; size: number }[];
  /** The key that this very request made: it is told once. */
  accessKey?: string;
}

/** A tree that was copied or moved. */
export interface Tree {
  url: string;
  address: string;
  /** How many objects it has. */
  objects: number;
}

/** One version of an object. */
export interface Version {
  /** From 1. */
  version: number;
  modified: Date;
  /** Whether this version says that the object was deleted; then the rest is null. */
  deleted: boolean;
  private: boolean;
  size: number | null;
  etag: string | null;
  contentType: string | null;
}

/** @internal */
export function readInfo(response: Response): ObjectInfo {
  const { headers, url } = response;
  return {
    url,
    version: Number(headers.get('x-version')),
    etag: readTag(headers),
    contentType: headers.get('content-type') ?? '',
    size: readRange(response)?.size ?? readLength(headers),
    modified: new Date(headers.get('last-modified') ?? NaN),
    private: headers.get('x-private') === 'true',
    sha256: readDigest(headers.get('repr-digest')),
  };
}

/** The entity tag. A compressed answer has one of its own, made of the object's; conditions take either. @internal */
export function readTag(headers: Headers): string {
  return (headers.get('etag') ?? '').replaceAll('"', '').replace(/-(zstd|br|gzip)$/, '');
}

function readLength(headers: Headers): number | null {
  const length = headers.get('content-length');
  return length === null ? null : Number(length);
}

function readDigest(header: string | null): string | null {
  const [, encoded] = /sha-256=:([A-Za-z0-9+/=]+):/.exec(header ?? '') ?? [];
  return encoded === undefined ? null : hex(unbase64(encoded));
}

/** @internal */
export function readRange({ status, headers }: Response): ContentRange | null {
  return status === 206 ? readContentRange(headers.get('content-range')) : null;
}

function readContentRange(header: string | null | undefined): ContentRange | null {
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header ?? '') ?? [];
  return size === undefined ? null : { start: Number(first), end: Number(last) + 1, size: Number(size) };
}

/** The head of an object as it comes over a socket: docs/live.md, "Calls". @internal */
export interface WireHead {
  file_size: number;
  etag: string;
  type: string;
  modified: string;
  version: number;
  private: boolean;
  content_range?: string;
  sha256?: string;
}

/** @internal */
export function readHead(wire: WireHead, url: string): { info: ObjectInfo; range: ContentRange | null } {
  const info = {
    url,
    version: wire.version,
    etag: wire.etag,
    contentType: wire.type,
    size: wire.file_size,
    modified: new Date(wire.modified),
    private: wire.private,
    sha256: wire.sha256 ?? null,
  };
  return { info, range: readContentRange(wire.content_range) };
}

/** The JSON of a write, as docs/http.md shows it. @internal */
export interface WireMetadata {
  url: string;
  address: string;
  created: string;
  modified: string;
  version: number;
  private: boolean;
  executable: boolean;
  content_type: string;
  file_size: number;
  etag: string;
  sha256?: string;
  owner: string;
  blocks: { hash: string; size: number }[];
  access_key?: string;
}

/** @internal */
export function readMetadata(wire: WireMetadata): Metadata {
  return {
    url: wire.url,
    address: wire.address,
    version: wire.version,
    etag: wire.etag,
    contentType: wire.content_type,
    size: wire.file_size,
    sha256: wire.sha256 ?? null,
    created: new Date(wire.created),
    modified: new Date(wire.modified),
    private: wire.private,
    executable: wire.executable,
    owner: wire.owner,
    blocks: wire.blocks,
    ...(wire.access_key !== undefined && { accessKey: wire.access_key }),
  };
}

/** @internal */
export interface WireVersion {
  version: number;
  modified: string;
  file_size: number | null;
  etag: string | null;
  content_type: string | null;
  private: boolean;
  deleted: boolean;
}

/** @internal */
export function readVersion(wire: WireVersion): Version {
  return {
    version: wire.version,
    modified: new Date(wire.modified),
    deleted: wire.deleted,
    private: wire.private,
    size: wire.file_size,
    etag: wire.etag,
    contentType: wire.content_type,
  };
}

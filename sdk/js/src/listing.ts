// Directories: their entries, page by page or one by one, and what holds in them.

/** An object in a directory. */
export interface ObjectEntry {
  type: 'object';
  /** Relative to the directory that was listed; with slashes in a recursive listing. */
  name: string;
  /** Bytes. */
  size: number;
  /** Media type. */
  contentType: string;
  modified: Date;
  /** From 1. */
  version: number;
  /** Whether reading needs a credential. */
  private: boolean;
  /** The entity tag, without quotes. */
  etag: string;
  /** SHA-256 in hex; null after an append. */
  sha256: string | null;
}

/** A directory in a directory. Recursive listings have none. */
export interface DirectoryEntry {
  type: 'directory';
  /** Ends in `/`. */
  name: string;
}

export type Entry = ObjectEntry | DirectoryEntry;

/** A part of a listing. */
export interface Page {
  /** The address of the directory. */
  address: string;
  /** In the order of their names: those that the caller may know of. */
  entries: Entry[];
  /** The `after` of the next page; null at the end. */
  next: string | null;
}

/** What holds in a directory, its own or inherited. */
export interface Policy {
  address: string;
  /** `did:key:z…` */
  owner: string;
  /** Whether new objects are private where nobody says otherwise. */
  private: boolean;
  /** Who may create objects. */
  create: 'owner' | 'anyone';
  /** Bytes; null without a limit. */
  quota: number | null;
  /** For how many days, and how many, old versions are kept. */
  retention: { days: number; versions: number };
  /** Hosts that programs may reach. */
  hosts: string[];
}

/** @internal */
export interface WirePage {
  address: string;
  entries: WireEntry[];
  next: string | null;
}

type WireEntry =
  | { type: 'directory'; name: string }
  | {
      type: 'object';
      name: string;
      size: number;
      content_type: string;
      modified: string;
      version: number;
      private: boolean;
      etag: string;
      sha256?: string;
    };

/** @internal */
export function readPage({ address, entries, next }: WirePage): Page {
  return { address, entries: entries.map(readEntry), next };
}

function readEntry(wire: WireEntry): Entry {
  if (wire.type === 'directory') return { type: 'directory', name: wire.name };
  return {
    type: 'object',
    name: wire.name,
    size: wire.size,
    contentType: wire.content_type,
    modified: new Date(wire.modified),
    version: wire.version,
    private: wire.private,
    etag: wire.etag,
    sha256: wire.sha256 ?? null,
  };
}

// A directory as it is now, and again whenever it changes.
//
// Nothing is missed: the watch begins before the listing, and events tell of a later state than an entry only if their version is later.

import { covers } from './address.js';
import type { Jsfs } from './jsfs.js';
import type { ObjectEntry } from './listing.js';
import type { Change, WatchEvent } from './live.js';
import type { Cancellable } from './options.js';

/** @internal */
export async function* mirror(
  jsfs: Jsfs,
  path: string,
  options: Cancellable,
): AsyncGenerator<ReadonlyMap<string, ObjectEntry>, void, undefined> {
  const directory = jsfs.address(path);
  const entries = new Map<string, ObjectEntry>();
  const list = async (): Promise<void> => {
    const listed = new Map<string, ObjectEntry>();
    for await (const entry of jsfs.list(path, { ...options, recursive: true })) {
      if (entry.type === 'object') listed.set(entry.name, entry);
    }
    entries.clear();
    for (const [name, entry] of listed) entries.set(name, entry);
  };
  const watch = jsfs.watch(path, options);
  try {
    await watch.ready;
    await list();
    yield entries;
    for await (const event of watch) {
      const events = [event, ...watch.arrived()];
      if (events.some(needsListing)) await list();
      else for (const change of events) apply(entries, directory, change as Change);
      yield entries;
    }
  } finally {
    await watch.return();
  }
}

// Who may see what can have changed with an owner or a policy.
function needsListing({ kind }: WatchEvent): boolean {
  return kind === 'reset' || kind === 'access';
}

function apply(entries: Map<string, ObjectEntry>, directory: string, change: Change): void {
  if (!covers(directory, change.address)) return;
  const name = change.address.slice(directory.length);
  const { version, size, etag, contentType, time: modified, private: isPrivate = true } = change;
  // What is no longer to be seen is deleted without a version.
  if (version !== undefined && (entries.get(name)?.version ?? 0) > version) return;
  if (change.kind === 'deleted') entries.delete(name);
  else if (version !== undefined && size !== undefined && etag !== undefined && contentType !== undefined) {
    entries.set(name, { type: 'object', name, size, contentType, modified, version, private: isPrivate, etag, sha256: null });
  }
}

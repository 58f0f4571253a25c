// A mirror ends up equal to the directory, whatever happens on the way.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { AccessKey, ConnectionError, Jsfs, type ObjectEntry } from 'jsfs';
import { Node, missing } from './node.js';

describe('mirrors', { skip: missing }, () => {
  let node: Node;
  let jsfs: Jsfs;

  before(async () => {
    node = await Node.start();
    jsfs = new Jsfs({ url: node.url, key: node.rootKey, WebSocket });
  });
  after(() => node.remove());

  const listing = async (path: string): Promise<Map<string, ObjectEntry>> => {
    const entries = new Map<string, ObjectEntry>();
    for await (const entry of jsfs.list(path, { recursive: true })) if (entry.type === 'object') entries.set(entry.name, entry);
    return entries;
  };

  it('show what is there, then every change', async () => {
    await jsfs.put('/shown/a.txt', 'a');
    const mirror = jsfs.mirror('/shown');
    const sizes = async (): Promise<Record<string, number>> => {
      const { value } = await mirror.next();
      return Object.fromEntries([...(value ?? [])].map(([name, { size }]) => [name, size]));
    };
    assert.deepEqual(await sizes(), { 'a.txt': 1 });
    await jsfs.put('/shown/sub/b.txt', 'bb');
    assert.deepEqual(await sizes(), { 'a.txt': 1, 'sub/b.txt': 2 });
    await jsfs.put('/shown/a.txt', 'aaa');
    assert.deepEqual(await sizes(), { 'a.txt': 3, 'sub/b.txt': 2 });
    await jsfs.delete('/shown/a.txt');
    assert.deepEqual(await sizes(), { 'sub/b.txt': 2 });
    await mirror.return();
  });

  it('lose what became private, and list again when a policy has changed', async () => {
    await jsfs.put('/access/open.txt', '', { private: false });
    await jsfs.put('/access/mine/a.txt', '');
    const names = async (mirror: ReturnType<Jsfs['mirror']>): Promise<string[]> => [...((await mirror.next()).value ?? new Map()).keys()];
    const [seen, own] = [new Jsfs({ url: node.url, WebSocket }).mirror('/access/'), jsfs.mirror('/access/')];
    assert.deepEqual(await names(seen), ['open.txt']);
    await jsfs.patch('/access/open.txt', { private: true });
    assert.deepEqual(await names(seen), []);
    await seen.return();
    assert.deepEqual(await names(own), ['mine/a.txt', 'open.txt']);
    await jsfs.patch('/access/mine/', { replacementKey: await AccessKey.generate() });
    await jsfs.patch('/access/', { private: false });
    while ((await names(own)).includes('mine/a.txt'));
    await own.return();
  });

  it('equal the directory after many changes and a crash', { timeout: 60_000 }, async () => {
    let mirrored: ReadonlyMap<string, ObjectEntry> = new Map();
    const mirror = jsfs.mirror('/storm/');
    const following = (async () => {
      for await (const entries of mirror) {
        mirrored = entries;
        if (entries.has('end')) break;
      }
    })();
    const retried = async (change: () => Promise<unknown>): Promise<void> => {
      // While the node is away; that what is to be deleted or moved is not there does not matter.
      for (let failed = true; failed; ) {
        failed = await change().then(() => false, (error: unknown) => error instanceof ConnectionError);
      }
    };
    const writer = async (seed: number): Promise<void> => {
      for (let n = 0; n < 60; n += 1) {
        const name = `/storm/${(n * seed) % 7}/${(n * seed) % 11}`;
        if (n % 5 === 3) await retried(() => jsfs.delete(name));
        else if (n % 5 === 4) await retried(() => jsfs.move(name, `/storm/moved/${n % 3}`));
        else await retried(() => jsfs.put(name, 'x'.repeat(n)));
        if (seed === 2 && n === 30) await node.stop('SIGKILL').then(() => node.startAgain());
      }
    };
    await Promise.all([1, 2, 3].map(writer));
    await jsfs.put('/storm/end', '');
    await following;
    const expected = await listing('/storm/');
    const shape = (entries: ReadonlyMap<string, ObjectEntry>): unknown =>
      [...entries.values()].map(({ name, size, version, etag, private: isPrivate, contentType }) => ({ name, size, version, etag, isPrivate, contentType })).sort((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual(shape(mirrored), shape(expected));
  });
});

// Uploads to a real node over a network that breaks.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Jsfs, type Progress } from 'jsfs';
import { Network } from './network.js';
import { Node, missing } from './node.js';

const MIB = 1 << 20;

describe('uploads', { skip: missing }, () => {
  let node: Node;
  let jsfs: Jsfs;
  const bytes = new Uint8Array(Uint32Array.from({ length: 2 * MIB }, (_, at) => Math.imul(at, 2_654_435_761)).buffer);

  before(async () => {
    node = await Node.start();
    jsfs = new Jsfs({ url: node.url, key: node.rootKey });
  });
  after(() => node.remove());

  const isStored = async (path: string): Promise<boolean> => Buffer.from(await (await jsfs.get(path)).bytes()).equals(bytes);

  it('store an object in pieces and tell how far they have got', async () => {
    const seen: Progress[] = [];
    const made = await jsfs.upload('/größer.bin', bytes, { chunkBytes: 3 * MIB, onProgress: (progress) => seen.push(progress), private: false });
    assert.deepEqual(seen.map(({ sent, total }) => [sent / MIB, total]), [[3, 8 * MIB], [6, 8 * MIB], [8, 8 * MIB]]);
    const info = await new Jsfs({ url: node.url }).head('/größer.bin');
    assert.deepEqual([info.version, info.etag, info.size], [made.version, made.etag, 8 * MIB]);
    assert.ok(await isStored('/größer.bin'));
  });

  it('take what a put takes, and objects that can be sliced', async () => {
    const first = await jsfs.upload('/text.html', '<p>text', { ifNoneMatch: '*' });
    assert.equal(first.version, 1);
    assert.equal((await jsfs.upload('/text.html', new Blob(['{}'], { type: 'application/json' }), { ifMatch: first.etag ?? '' })).version, 2);
    assert.equal((await jsfs.head('/text.html')).contentType, 'application/json');
    await assert.rejects(jsfs.upload('/text.html', 'x', { ifMatch: first.etag ?? '' }), { name: 'JsfsError', status: 412 });
    await assert.rejects(jsfs.upload('/text.html', 'x', { ifNoneMatch: '*' }), { name: 'JsfsError', status: 412 });
    assert.equal((await jsfs.upload('/empty.txt', '')).version, 1);
    assert.equal((await jsfs.head('/empty.txt')).size, 0);
    const asked: number[] = [];
    const file = { size: 10, slice: async (start: number, end: number) => (asked.push(start, end), bytes.slice(start, end)) };
    await jsfs.upload('/sliced.bin', file, { chunkBytes: 4, contentType: 'a/b' });
    assert.deepEqual(asked, [0, 4, 4, 8, 8, 10]);
    assert.deepEqual(await (await jsfs.get('/sliced.bin')).bytes(), bytes.slice(0, 10));
  });

  it('go on where the node has got to when connections break', async () => {
    const network = await Network.to(node.url, 900_000);
    const over = new Jsfs({ url: network.url, key: node.rootKey });
    const seen: number[] = [];
    await over.upload('/broken.bin', bytes, { chunkBytes: 2 * MIB, onProgress: ({ sent }) => seen.push(sent) });
    assert.ok(network.cuts >= 8, `${network.cuts} connections were cut`);
    assert.ok(await isStored('/broken.bin'));
    assert.equal(seen.at(-1), bytes.length);
    network.close();
  });

  it('survive a node that is killed', async () => {
    let killed: Promise<void> | undefined;
    const kill = async (): Promise<void> => {
      await node.stop('SIGKILL');
      await node.startAgain();
    };
    await jsfs.upload('/killed.bin', bytes, { chunkBytes: MIB, onProgress: ({ sent }) => void (sent >= 3 * MIB && (killed ??= kill())) });
    await killed;
    assert.ok(killed, 'it was killed');
    assert.ok(await isStored('/killed.bin'));
  });

  it('go on after a reload from their URL', async () => {
    const abort = new AbortController();
    let url = '';
    const onStart = (begun: string): void => void (url = begun);
    const onProgress = ({ sent }: Progress): void => (sent >= 3 * MIB ? abort.abort(new Error('reload')) : undefined);
    await assert.rejects(jsfs.upload('/resumed.bin', bytes, { chunkBytes: MIB, onStart, onProgress, signal: abort.signal }), /reload/);
    await assert.rejects(jsfs.head('/resumed.bin'), { status: 404 });
    const seen: number[] = [];
    const later = new Jsfs({ url: node.url, key: node.rootKey });
    await later.upload('/resumed.bin', bytes, { resume: url, chunkBytes: MIB, onProgress: ({ sent }) => seen.push(sent / MIB) });
    assert.deepEqual(seen, [3, 4, 5, 6, 7, 8]);
    assert.ok(await isStored('/resumed.bin'));
    const again = await later.upload('/resumed.bin', bytes, { resume: url });
    assert.deepEqual(again, { version: 1, etag: (await jsfs.head('/resumed.bin')).etag }, 'one that is complete says so');
  });

  it('are refused at once where they may not be, and when they are not there any more', async () => {
    const begin = Date.now();
    await assert.rejects(new Jsfs({ url: node.url }).upload('/mine.bin', bytes), { name: 'JsfsError', status: 401 });
    let url = '';
    const abort = new AbortController();
    const onStart = (begun: string): void => void ((url = begun), abort.abort());
    await assert.rejects(jsfs.upload('/discarded.bin', bytes, { onStart, signal: abort.signal }), { name: 'AbortError' });
    await assert.rejects(new Jsfs({ url: node.url }).upload('/discarded.bin', bytes, { resume: url }), { status: 404 });
    await assert.rejects(jsfs.upload('/discarded.bin', 'something else', { resume: url }), RangeError);
    await jsfs.discardUpload(url);
    await assert.rejects(jsfs.upload('/discarded.bin', bytes, { resume: url }), { status: 404 });
    await assert.rejects(jsfs.upload('/discarded.bin', bytes, { resume: 'http://example.com/.jsfs/uploads/1' }), { name: 'TypeError', message: /another node/ });
    assert.ok(Date.now() - begin < 5_000, 'nothing was tried again');
  });
});

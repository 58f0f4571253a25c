// Objects and directories, against a real node.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type Entry, Jsfs, type Progress } from 'jsfs';
import { Node, missing } from './node.js';

describe('objects', { skip: missing }, () => {
  let node: Node;
  let jsfs: Jsfs;
  let stranger: Jsfs;

  before(async () => {
    node = await Node.start();
    jsfs = new Jsfs({ url: node.url, key: node.rootKey });
    stranger = new Jsfs({ url: node.url });
  });
  after(() => node.remove());

  it('stores what it is given and gives it back, whatever form it has', async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    const bodies = {
      text: 'Grüße, 世界',
      bytes,
      buffer: bytes.buffer,
      view: new DataView(bytes.buffer, 1, 500),
      blob: new Blob([bytes]),
      stream: new Blob([bytes]).stream(),
      nothing: '',
    };
    for (const [name, body] of Object.entries(bodies)) {
      const expected = name === 'stream' ? bytes : new Uint8Array(await new Blob([body as BlobPart]).arrayBuffer());
      const made = await jsfs.put(`/forms/${name}`, body);
      assert.equal(made.size, expected.length, name);
      assert.deepEqual(await (await jsfs.get(`/forms/${name}`)).bytes(), expected, name);
    }
  });

  it('tells what a write made', async () => {
    const before = Date.now() - 1_000;
    const made = await jsfs.put('/told.txt', 'hello', { private: false });
    assert.equal(made.url, `${node.url}/told.txt`);
    assert.equal(made.address, '/localhost/told.txt');
    assert.equal(made.version, 1);
    assert.equal(made.size, 5);
    assert.equal(made.private, false);
    assert.equal(made.executable, false);
    assert.equal(made.contentType, 'text/plain; charset=utf-8');
    assert.equal(made.sha256, '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824');
    assert.match(made.owner, /^did:key:z6Mk/);
    assert.ok(made.created.getTime() > before && made.modified.getTime() > before);
    assert.equal(made.blocks.reduce((sum, { size }) => sum + size, 0), 5);
    assert.equal(made.accessKey, undefined);
    assert.equal((await jsfs.put('/told.txt', 'hello again')).version, 2);
  });

  it('tells the same of an object when it is read', async () => {
    const made = await jsfs.put('/read.json', '{"a":[1,2]}');
    for (const info of [await jsfs.head('/read.json'), await jsfs.get('/read.json')]) {
      assert.equal(info.url, made.url);
      assert.equal(info.version, made.version);
      assert.equal(info.etag, made.etag);
      assert.equal(info.contentType, made.contentType);
      assert.equal(info.size, made.size);
      assert.equal(info.sha256, made.sha256);
      assert.equal(info.private, true);
      assert.equal(info.modified.getTime(), Math.floor(made.modified.getTime() / 1_000) * 1_000);
    }
    assert.deepEqual(await (await jsfs.get('/read.json')).json(), { a: [1, 2] });
    const blob = await (await jsfs.get('/read.json')).blob();
    assert.equal(blob.size, 11);
    const streamed: number[] = [];
    for await (const chunk of (await jsfs.get('/read.json')).body) streamed.push(...chunk);
    assert.equal(new TextDecoder().decode(Uint8Array.from(streamed)), '{"a":[1,2]}');
  });

  it('has one entity tag for an object, also when it comes compressed', async () => {
    const { etag } = await jsfs.put('/long.txt', 'again and '.repeat(1_000));
    const compressed = await jsfs.get('/long.txt');
    assert.equal(compressed.size, null, 'it came compressed');
    assert.equal(compressed.etag, etag);
    assert.equal((await compressed.text()).length, 10_000);
    const info = await jsfs.head('/long.txt');
    assert.deepEqual([info.size, info.etag], [10_000, etag]);
  });

  it('keeps names as they are', async () => {
    const names = ['a b', 'ü/ø', '100%', '%41', 'what?', 'a#b', 'a&b=c+d', "it's", 'back\\slash', '~tilde', 'dots..', 'colon:x', '日本'];
    for (const name of names) {
      const made = await jsfs.put(`/names/${name}`, name);
      assert.equal(made.address, `/localhost/names/${name}`);
      assert.equal(jsfs.address(`/names/${name}`), made.address);
      assert.equal(await (await jsfs.get(`/names/${name}`)).text(), name);
    }
    const listed: string[] = [];
    for await (const entry of jsfs.list('/names/', { recursive: true })) listed.push(entry.name);
    assert.deepEqual(listed.sort(), names.sort());
  });

  it('resolves paths against its URL and never leaves the node', async () => {
    const inside = new Jsfs({ url: `${node.url}/inside/page.html?version=9#hash`, key: node.rootKey });
    assert.equal((await inside.put('a.txt', 'a')).address, '/localhost/inside/a.txt');
    assert.equal((await inside.put('/b.txt', 'b')).address, '/localhost/b.txt');
    assert.equal((await inside.put('../c.txt', 'c')).address, '/localhost/c.txt');
    assert.equal((await inside.put('//example.com/d.txt', 'd')).address, '/localhost/example.com/d.txt');
    assert.equal((await inside.put('http://example.com/e', 'e')).address, '/localhost/inside/http:/example.com/e');
  });

  it('gives an object the type that is asked for, that of a Blob, or that of its name', async () => {
    const typed = new Blob(['x'], { type: 'image/x-test' });
    assert.equal((await jsfs.put('/types/1.html', 'x')).contentType, 'text/html; charset=utf-8');
    assert.equal((await jsfs.put('/types/2.html', typed)).contentType, 'image/x-test');
    assert.equal((await jsfs.put('/types/3.html', typed, { contentType: 'a/b' })).contentType, 'a/b');
    assert.equal((await jsfs.put('/types/3.html', 'replaced')).contentType, 'a/b', 'it stays when nobody says otherwise');
  });

  it('is private unless said otherwise, and hides what is private from strangers', async () => {
    await jsfs.put('/secret.txt', 'secret');
    await jsfs.put('/open.txt', 'open', { private: false });
    assert.equal(await (await stranger.get('/open.txt')).text(), 'open');
    await assert.rejects(stranger.get('/secret.txt'), { name: 'JsfsError', status: 404 });
    await assert.rejects(stranger.head('/secret.txt'), { name: 'JsfsError', status: 404, title: 'Not found' });
    await assert.rejects(stranger.put('/open.txt', 'mine'), { name: 'JsfsError', status: 401 });
    await jsfs.patch('/secret.txt', { private: false, contentType: 'text/x-told' });
    const told = await stranger.head('/secret.txt');
    assert.deepEqual([told.contentType, told.private], ['text/x-told', false]);
  });

  it('gives ranges', async () => {
    await jsfs.put('/digits.bin', '0123456789');
    const ranges = [
      [{ start: 2 }, '23456789', { start: 2, end: 10, size: 10 }],
      [{ start: 2, end: 4 }, '23', { start: 2, end: 4, size: 10 }],
      [{ suffix: 3 }, '789', { start: 7, end: 10, size: 10 }],
    ] as const;
    for (const [range, text, told] of ranges) {
      const part = await jsfs.get('/digits.bin', { range });
      assert.deepEqual([await part.text(), part.range, part.size], [text, told, 10]);
    }
    assert.equal((await jsfs.get('/digits.bin')).range, null);
    await assert.rejects(jsfs.get('/digits.bin', { range: { start: 10 } }), { status: 416 });
    await assert.rejects(jsfs.get('/digits.bin', { range: { start: 3, end: 3 } }), RangeError);
  });

  it('makes changes and reads depend on the version that is there', async () => {
    const first = await jsfs.put('/conditional.txt', 'one', { ifNoneMatch: '*' });
    await assert.rejects(jsfs.put('/conditional.txt', 'two', { ifNoneMatch: '*' }), { status: 412 });
    assert.equal(await jsfs.get('/conditional.txt', { ifNoneMatch: first.etag }), null);
    const second = await jsfs.put('/conditional.txt', 'two', { ifMatch: first.etag });
    assert.equal(await (await jsfs.get('/conditional.txt', { ifNoneMatch: first.etag }))?.text(), 'two');
    await assert.rejects(jsfs.put('/conditional.txt', 'three', { ifMatch: first.etag }), { status: 412 });
    await assert.rejects(jsfs.append('/conditional.txt', '!', { ifMatch: first.etag }), { status: 412 });
    await assert.rejects(jsfs.delete('/conditional.txt', { ifMatch: first.etag }), { status: 412 });
    await assert.rejects(jsfs.copy('/conditional.txt', '/copied.txt', { ifMatch: first.etag }), { status: 412 });
    await jsfs.delete('/conditional.txt', { ifMatch: second.etag });
    await assert.rejects(jsfs.get('/conditional.txt'), { status: 404 });
  });

  it('appends', async () => {
    await jsfs.append('/log.txt', 'one\n');
    const made = await jsfs.append('/log.txt', 'two\n');
    assert.deepEqual([made.size, made.version, made.sha256], [8, 2, null]);
    assert.equal(await (await jsfs.get('/log.txt')).text(), 'one\ntwo\n');
  });

  it('keeps versions, restores them, and forgets them when told', async () => {
    for (const text of ['one', 'two!']) await jsfs.put('/kept.txt', text);
    await jsfs.delete('/kept.txt');
    const versions = await jsfs.versions('/kept.txt');
    assert.deepEqual(
      versions.map(({ version, size, deleted }) => ({ version, size, deleted })),
      [
        { version: 3, size: null, deleted: true },
        { version: 2, size: 4, deleted: false },
        { version: 1, size: 3, deleted: false },
      ],
    );
    assert.ok(versions[0] && Date.now() - versions[0].modified.getTime() < 60_000);
    assert.equal(await (await jsfs.get('/kept.txt', { version: 1 })).text(), 'one');
    assert.equal((await jsfs.head('/kept.txt', { version: 2 })).size, 4);
    assert.equal((await jsfs.restore('/kept.txt', 1)).version, 4);
    assert.equal(await (await jsfs.get('/kept.txt')).text(), 'one');
    await jsfs.delete('/kept.txt', { purge: true });
    await assert.rejects(jsfs.get('/kept.txt'), { status: 410 });
    await assert.rejects(jsfs.get('/kept.txt', { version: 1 }), { status: 404 });
  });

  it('copies and moves objects and trees', async () => {
    await jsfs.put('/from/a b.txt', 'a');
    await jsfs.put('/from/sub/c.txt', 'c');
    const copied = await jsfs.copy('/from/a b.txt', '/to/ä.txt');
    assert.ok(copied && 'size' in copied);
    assert.deepEqual([copied.address, copied.size], ['/localhost/to/ä.txt', 1]);
    assert.equal(await jsfs.copy('/from/sub/c.txt', '/to/ä.txt'), null, 'something was replaced');
    assert.equal(await (await jsfs.get('/to/ä.txt')).text(), 'c');
    await assert.rejects(jsfs.move('/from/sub/c.txt', '/to/ä.txt', { overwrite: false }), { status: 412 });
    const tree = await jsfs.move('/from/', '/moved/');
    assert.deepEqual(tree, { url: `${node.url}/moved/`, address: '/localhost/moved/', objects: 2 });
    await assert.rejects(jsfs.head('/from/a b.txt'), { status: 404 });
    assert.equal(await (await jsfs.get('/moved/sub/c.txt')).text(), 'c');
  });

  it('lists directories entry by entry, over all pages', async () => {
    for (let n = 0; n < 5; n += 1) await jsfs.put(`/pages/${n}.txt`, 'x'.repeat(n), { private: n % 2 === 0 });
    await jsfs.put('/pages/sub/deep.txt', 'deep');
    const entries: Entry[] = [];
    for await (const entry of jsfs.list('/pages', { limit: 2 })) entries.push(entry);
    assert.deepEqual(entries.map(({ name }) => name), ['0.txt', '1.txt', '2.txt', '3.txt', '4.txt', 'sub/']);
    assert.deepEqual(entries[5], { type: 'directory', name: 'sub/' });
    const third = entries[3];
    assert.ok(third?.type === 'object');
    const { etag, sha256, modified, contentType } = await jsfs.head('/pages/3.txt');
    assert.equal(Math.floor(third.modified.getTime() / 1_000), modified.getTime() / 1_000);
    const told = { ...third, modified };
    assert.deepEqual(told, { type: 'object', name: '3.txt', size: 3, version: 1, private: false, etag, sha256, modified, contentType });
    const deep: string[] = [];
    for await (const { name } of jsfs.list('/pages/', { recursive: true, limit: 4 })) deep.push(name);
    assert.deepEqual(deep, ['0.txt', '1.txt', '2.txt', '3.txt', '4.txt', 'sub/deep.txt']);
    const page = await jsfs.listPage('/pages/', { limit: 4 });
    assert.equal(page.entries.length, 4);
    const rest = await jsfs.listPage('/pages/', { after: page.next ?? '' });
    assert.deepEqual([rest.entries.length, rest.next], [2, null]);
    const seen: string[] = [];
    for await (const { name } of stranger.list('/pages/')) seen.push(name);
    assert.deepEqual(seen, ['1.txt', '3.txt'], 'a stranger sees what is public');
  });

  it('tells and changes what holds in a directory', async () => {
    await jsfs.put('/policy/a.txt', 'a');
    await jsfs.patch('/policy/', { private: false, quota: 1_000, create: 'anyone', retention: { days: 1, versions: 2 } });
    const { owner, ...policy } = await jsfs.properties('/policy');
    assert.match(owner, /^did:key:/);
    assert.deepEqual(policy, {
      address: '/localhost/policy/',
      private: false,
      create: 'anyone',
      quota: 1_000,
      retention: { days: 1, versions: 2 },
      hosts: [],
    });
    await jsfs.patch('/policy/', { quota: null });
    assert.equal((await jsfs.properties('/policy/')).quota, null);
    assert.equal((await stranger.put('/policy/b.txt', 'b')).private, false);
  });

  it('tells how much of a body is on its way', async () => {
    const seen: Progress[] = [];
    const blob = new Blob([new Uint8Array(1 << 20)], { type: 'image/x-test' });
    const made = await jsfs.put('/progress.bin', blob, { onProgress: (progress) => seen.push(progress) });
    assert.equal(made.contentType, 'image/x-test');
    assert.deepEqual(seen.map(({ sent }) => sent / 65_536), Array.from({ length: 16 }, (_, at) => at + 1));
    assert.ok(seen.every(({ total }) => total === 1 << 20));
  });

  it('gives up when told to', async () => {
    let cancelled: unknown;
    const endless = new ReadableStream({
      async pull(controller) {
        await setTimeout(5);
        controller.enqueue(new Uint8Array(1_000));
      },
      cancel: (why) => void (cancelled = why),
    });
    const reason = new Error('enough');
    const abort = new AbortController();
    const writing = jsfs.put('/given-up.bin', endless, { signal: abort.signal });
    await setTimeout(100);
    abort.abort(reason);
    await assert.rejects(writing, reason);
    assert.equal(cancelled, reason);
    await assert.rejects(jsfs.head('/given-up.bin'), { status: 404 });
    await assert.rejects(jsfs.get('/digits.bin', { signal: AbortSignal.abort(reason) }), reason);
  });

  it('sends any other request', async () => {
    const status = await (await stranger.request('GET', '/.jsfs/status')).json();
    assert.equal((status as { status: string }).status, 'ok');
    const made = await jsfs.request('PUT', '/.jsfs/namespaces/com.example', { body: '{"private":false}', headers: { 'content-type': 'application/json' } });
    assert.equal(made.status, 201);
    const elsewhere = await jsfs.put('/.com.example/a.txt', 'a');
    assert.equal(elsewhere.address, '/com.example/a.txt');
    assert.equal(jsfs.address('/.com.example/a.txt'), '/com.example/a.txt');
  });
});

// The SDK in a real Chromium, imported from the node that it talks to.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { AccessToken, Jsfs } from 'jsfs';
import { MODULE, launch, missing as noChromium, open, publish } from './chromium.js';
import { Node, missing as noNode } from './node.js';

type Sdk = typeof import('jsfs');

describe('in a browser', { skip: noNode || noChromium }, () => {
  let node: Node;
  let browser: Browser;
  let page: Page;
  let here: { module: string; url: string; key: string };

  before(async () => {
    [node, browser] = await Promise.all([Node.start(), launch()]);
    await publish(node);
    page = await open(browser, node);
    here = { module: MODULE, url: node.url, key: node.rootKey };
  });
  after(async () => {
    await browser.close();
    await node.remove();
  });

  it('talks to the node that the page is from', async () => {
    const seen = await page.evaluate(async ({ module }) => {
      const { Jsfs }: Sdk = await import(module);
      const jsfs = new Jsfs();
      const names: string[] = [];
      for await (const { name } of jsfs.list('/')) names.push(name);
      return { url: jsfs.url, title: await (await jsfs.get('/index.html')).text(), names, address: jsfs.address('/a b') };
    }, here);
    assert.equal(seen.url, `${node.urlOf('sdk')}/`);
    assert.match(seen.title, /<title>SDK/);
    assert.deepEqual(seen.names, ['index.html', 'jsfs/']);
    assert.equal(seen.address, '/sdk/a b');
  });

  it('reads and writes another namespace of the node with a key', async () => {
    const seen = await page.evaluate(async ({ module, url, key }) => {
      const { Jsfs }: Sdk = await import(module);
      const jsfs = new Jsfs({ url, key });
      const text = 'from a page, größer '.repeat(100);
      const made = await jsfs.put('/page/ä b.txt', text, { private: true });
      const got = await jsfs.get('/page/ä b.txt');
      const part = await jsfs.get('/page/ä b.txt', { range: { start: 0, end: 4 } });
      const again = await jsfs.get('/page/ä b.txt', { ifNoneMatch: made.etag });
      await jsfs.copy('/page/ä b.txt', '/page/copy.txt');
      await jsfs.patch('/page/copy.txt', { contentType: 'text/x-changed' });
      const head = await jsfs.head('/page/copy.txt');
      await jsfs.move('/page/copy.txt', '/page/moved.txt');
      await jsfs.delete('/page/moved.txt');
      return {
        made: { size: made.size, etag: made.etag, address: made.address },
        got: { isSame: (await got.text()) === text, etag: got.etag, version: got.version, private: got.private },
        part: { text: await part.text(), range: part.range },
        again,
        contentType: head.contentType,
        versions: (await jsfs.versions('/page/moved.txt')).length,
      };
    }, here);
    assert.deepEqual(seen.got, { isSame: true, etag: seen.made.etag, version: 1, private: true });
    assert.equal(seen.made.address, '/localhost/page/ä b.txt');
    assert.deepEqual(seen.part, { text: 'from', range: { start: 0, end: 4, size: seen.made.size } });
    assert.equal(seen.again, null);
    assert.equal(seen.contentType, 'text/x-changed');
    assert.equal(seen.versions, 2);
  });

  it('hears why it was refused', async () => {
    const seen = await page.evaluate(async ({ module, url, key }) => {
      const { ConnectionError, Jsfs, JsfsError }: Sdk = await import(module);
      const told = (error: unknown) => (error instanceof JsfsError ? { status: error.status, detail: error.detail, title: error.title } : String(error));
      const stranger = new Jsfs({ url });
      const owner = new Jsfs({ url, key });
      await owner.put('/page/folder/a.txt', 'a');
      return {
        write: await stranger.put('/planted.txt', 'planted').catch(told),
        read: await stranger.get('/page/folder/a.txt').catch(told),
        redirect: await owner.get('/page/folder').catch(told),
        nobody: await new Jsfs({ url: 'http://127.0.0.1:1' }).get('/').catch((error: unknown) => error instanceof ConnectionError),
      };
    }, here);
    const [write, read, redirect] = [seen.write, seen.read, seen.redirect] as { status: number; detail: string; title: string }[];
    assert.equal(write?.status, 401);
    assert.match(write?.detail ?? '', /key/);
    assert.equal(read?.status, 404);
    assert.deepEqual([redirect?.status, redirect?.title], [307, 'Redirect: the path of a directory ends in /']);
    assert.equal(seen.nobody, true);
  });

  it('tells how much of a body is on its way, and gives up when told to', async () => {
    const seen = await page.evaluate(async ({ module, url, key }) => {
      const { Jsfs }: Sdk = await import(module);
      const jsfs = new Jsfs({ url, key });
      const sent: number[] = [];
      const bytes = crypto.getRandomValues(new Uint8Array(65_536));
      const blob = new Blob(Array.from({ length: 512 }, () => bytes), { type: 'image/x-test' });
      const made = await jsfs.put('/page/large.bin', blob, { onProgress: (progress) => sent.push(progress.sent) });
      const abort = new AbortController();
      const given = jsfs.put('/page/given-up.bin', blob, { onProgress: () => abort.abort(new Error('enough')), signal: abort.signal });
      const why = await given.catch((error: unknown) => String(error));
      const refused = await new Jsfs({ url }).put('/page/refused.bin', 'x', { onProgress: () => undefined }).catch((error: unknown) => String(error));
      return { size: made.size, type: made.contentType, sent, total: blob.size, why, refused, left: await jsfs.head('/page/given-up.bin').catch(() => 'nothing') };
    }, here);
    assert.equal(seen.size, seen.total);
    assert.equal(seen.type, 'image/x-test');
    assert.ok(seen.sent.length > 1, `${seen.sent.length} reports`);
    assert.equal(seen.sent.at(-1), seen.total);
    assert.equal(seen.why, 'Error: enough');
    assert.equal(seen.left, 'nothing');
    assert.match(seen.refused as string, /^JsfsError: .*\(401\)$/);
  });

  it('stores a stream, although browsers cannot send one', async () => {
    const seen = await page.evaluate(async ({ module, url, key }) => {
      const { Jsfs }: Sdk = await import(module);
      const jsfs = new Jsfs({ url, key });
      await jsfs.put('/page/stream.txt', new Blob(['streamed']).stream());
      return (await jsfs.get('/page/stream.txt')).text();
    }, here);
    assert.equal(seen, 'streamed');
  });

  it('makes keys and tokens offline, which a node believes', async () => {
    const owner = new Jsfs({ url: node.url, key: node.rootKey });
    await owner.put('/page/secret.txt', 'secret');
    const made = await page.evaluate(async ({ module, url, key }) => {
      const { AccessKey, Jsfs }: Sdk = await import(module);
      const owner = await AccessKey.parse(key);
      const readKey = await new Jsfs({ url, key }).readKey('/');
      const token = await owner.mint({ subject: '/localhost/page/', methods: ['GET', 'PUT'], readKey });
      await token.verify();
      const bearer = new Jsfs({ url, token });
      await bearer.put('/page/by-token.txt', 'by a token');
      const generated = await AccessKey.generate();
      return { token: token.text, text: await (await bearer.get('/page/secret.txt')).text(), generated: generated.text, owner: generated.owner };
    }, here);
    assert.equal(made.text, 'secret');
    assert.deepEqual((await AccessToken.parse(made.token)).methods, ['GET', 'PUT']);
    assert.equal(await (await owner.get('/page/by-token.txt')).text(), 'by a token');
    assert.match(made.generated, /^jsfs_/);
    assert.match(made.owner, /^did:key:z6Mk/);
  });

  it('follows changes with the WebSocket that browsers have, and goes on when the node was away', async () => {
    const owner = new Jsfs({ url: node.url, key: node.rootKey });
    await owner.put('/.sdk/messages/0.txt', '0');
    const shown = page.evaluate(async ({ module }) => {
      const { Jsfs }: Sdk = await import(module);
      document.body.textContent = '';
      for await (const messages of new Jsfs().mirror('/messages/')) {
        document.body.textContent = [...messages.keys()].sort().join(' ');
        if (messages.has('end.txt')) return document.body.textContent;
      }
      return 'nothing';
    }, here);
    const shows = (text: string) => page.waitForFunction((expected) => document.body.textContent === expected, text);
    await shows('0.txt');
    await owner.put('/.sdk/messages/1.txt', '1');
    await shows('0.txt 1.txt');
    await owner.delete('/.sdk/messages/0.txt');
    await shows('1.txt');
    await node.stop('SIGKILL');
    await node.startAgain();
    await owner.put('/.sdk/messages/end.txt', 'end');
    assert.equal(await shown, '1.txt end.txt');
  });

  it('sends and fetches bodies over a socket, with a credential that no page could put into its handshake', async () => {
    const seen = await page.evaluate(async ({ module, url, key }) => {
      const { ConnectionError, Jsfs, JsfsError }: Sdk = await import(module);
      const connection = await new Jsfs({ url, key }).connect();
      const bytes = new Uint8Array(Uint32Array.from({ length: 300_000 }, (_, at) => Math.imul(at, 2_654_435_761)).buffer);
      const made = await connection.put('/page/socket ä.bin', new Blob([bytes]).stream());
      const got = await (await connection.get('/page/socket ä.bin')).bytes();
      const refused = await connection.get('/page/none').catch((error: unknown) => error instanceof JsfsError && error.status);
      connection.close();
      const ended = await connection.call('ping').catch((error: unknown) => error instanceof ConnectionError && error.code);
      return { size: made.size, isSame: got.length === bytes.length && got.every((byte, at) => byte === bytes[at]), refused, ended };
    }, here);
    assert.deepEqual(seen, { size: 1_200_000, isSame: true, refused: 404, ended: 1000 });
  });

  it('uploads in pieces, and goes on after a reload', async () => {
    const begun = await page.evaluate(async ({ module, url, key }) => {
      const { Jsfs }: Sdk = await import(module);
      const abort = new AbortController();
      const file = new Blob([new Uint8Array(5 << 20).fill(7)], { type: 'image/x-test' });
      let upload = '';
      const onStart = (url: string) => void (upload = url);
      const onProgress = ({ sent }: { sent: number }) => (sent >= 2 << 20 ? abort.abort() : undefined);
      await new Jsfs({ url, key }).upload('/page/upload.bin', file, { chunkBytes: 1 << 20, onStart, onProgress, signal: abort.signal }).catch(() => undefined);
      return upload;
    }, here);
    await page.reload();
    const seen = await page.evaluate(async ({ module, url, key, begun }) => {
      const { Jsfs }: Sdk = await import(module);
      const file = new Blob([new Uint8Array(5 << 20).fill(7)]);
      const sent: number[] = [];
      const made = await new Jsfs({ url, key }).upload('/page/upload.bin', file, { resume: begun, onProgress: (progress) => sent.push(progress.sent >> 20) });
      return { sent, version: made.version };
    }, { ...here, begun });
    assert.deepEqual(seen, { sent: [2, 5], version: 1 });
    const stored = await new Jsfs({ url: node.url, key: node.rootKey }).head('/page/upload.bin');
    assert.deepEqual([stored.size, stored.contentType], [5 << 20, 'image/x-test']);
  });
});

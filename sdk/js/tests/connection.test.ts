// Calls and bodies over a socket to a real node.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import WebSocket from 'ws';
import { type Connection, ConnectionError, Jsfs, JsfsError, type Progress } from 'jsfs';
import { Node, missing } from './node.js';
import { counted } from './sockets.js';

const MIB = 1 << 20;

describe('sockets', { skip: missing }, () => {
  let node: Node;
  let jsfs: Jsfs;
  let connection: Connection;

  before(async () => {
    node = await Node.start();
    jsfs = new Jsfs({ url: node.url, key: node.rootKey, WebSocket });
    connection = await jsfs.connect();
  });
  after(async () => {
    connection.close();
    await node.remove();
  });

  /** Bytes that differ everywhere, so that a piece that is lost, doubled or out of order shows. */
  const bytesOf = (length: number): Uint8Array<ArrayBuffer> => {
    const numbers = Uint32Array.from({ length: Math.ceil(length / 4) }, (_, at) => Math.imul(at, 2_654_435_761));
    return new Uint8Array(numbers.buffer).slice(0, length);
  };

  it('carry calls side by side', async () => {
    const answers = await Promise.all([connection.call('ping'), connection.call('list', { path: '/' }), connection.call('ping')]);
    assert.deepEqual([answers[0], answers[2]], [{}, {}]);
    assert.deepEqual(answers[1], { address: '/localhost/', entries: [], next: null });
  });

  it('store and fetch bodies of every size, under every name', async () => {
    for (const length of [0, 1, 65_535, 65_536, 65_537, 262_144, 262_145, 3 * MIB + 1]) {
      const bytes = bytesOf(length);
      const made = await connection.put(`/bodies/größer ${length}%.bin`, bytes, { contentType: 'a/b', private: false });
      assert.deepEqual([made.size, made.contentType, made.private], [length, 'a/b', false]);
      assert.equal(made.address, `/localhost/bodies/größer ${length}%.bin`);
      const got = await connection.get(`/bodies/größer ${length}%.bin`);
      assert.deepEqual([got.size, got.etag, got.version, got.contentType], [length, made.etag, 1, 'a/b']);
      assert.ok(Buffer.from(await got.bytes()).equals(bytes), `${length} bytes`);
      assert.deepEqual(await (await jsfs.get(`/bodies/größer ${length}%.bin`)).bytes(), bytes);
    }
  });

  it('append, replace under a condition, and give ranges and versions', async () => {
    const first = await connection.append('/log.txt', 'one');
    await connection.append('/log.txt', ' two', { ifMatch: first.etag });
    await assert.rejects(connection.append('/log.txt', ' three', { ifMatch: first.etag }), { name: 'JsfsError', status: 412 });
    await assert.rejects(connection.put('/log.txt', 'x', { ifNoneMatch: '*' }), { status: 412 });
    assert.equal(await (await connection.get('/log.txt')).text(), 'one two');
    assert.equal(await (await connection.get('/log.txt', { version: 1 })).text(), 'one');
    const part = await connection.get('/log.txt', { range: { start: 4, end: 6 } });
    assert.deepEqual([await part.text(), part.range, part.size], ['tw', { start: 4, end: 6, size: 7 }, 7]);
    const last = await connection.get('/log.txt', { range: { suffix: 3 } });
    assert.equal(await last.text(), 'two');
  });

  it('store a stream as it comes, and tell how much of it has gone', async () => {
    const seen: Progress[] = [];
    const slow = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        await setTimeout(10);
        if (seen.length === 5) controller.close();
        else controller.enqueue(bytesOf(1_000));
      },
    });
    const made = await connection.put('/slow.bin', slow, { onProgress: (progress) => seen.push(progress) });
    assert.equal(made.size, 5_000);
    assert.deepEqual(seen.map(({ sent }) => sent), [1_000, 2_000, 3_000, 4_000, 5_000]);
  });

  it('take no more of a body than its reader, and hold up nothing else for it', async () => {
    const WebSocket = counted();
    const other = await new Jsfs({ url: node.url, key: node.rootKey, WebSocket }).connect();
    await jsfs.put('/large.bin', bytesOf(8 * MIB));
    const reader = (await other.get('/large.bin')).body.getReader();
    let read = 0;
    let elsewhere = 0;
    for (const stop of [1, 3 * MIB, 8 * MIB]) {
      while (read < stop) {
        const { done, value } = await reader.read();
        if (done) break;
        read += value.length;
      }
      await setTimeout(200);
      const unread = WebSocket.bytesIn - elsewhere - read;
      assert.ok(unread < 270_000, `${unread} bytes came that nobody had read`);
      const before = WebSocket.bytesIn;
      assert.equal((await (await other.get('/large.bin')).bytes()).length, 8 * MIB, 'another body passes');
      elsewhere += WebSocket.bytesIn - before;
    }
    other.close();
  });

  it('send no more of a body than was granted', async () => {
    const WebSocket = counted();
    const other = await new Jsfs({ url: node.url, key: node.rootKey, WebSocket }).connect();
    node.pause();
    const made = other.put('/granted.bin', bytesOf(4 * MIB));
    await setTimeout(300);
    assert.ok(WebSocket.bytesOut >= 262_144 && WebSocket.bytesOut < 263_000, `${WebSocket.bytesOut} bytes went out unasked`);
    node.goOn();
    assert.equal((await made).size, 4 * MIB);
    other.close();
  });

  it('tell the node of bodies that nobody wants any more', async () => {
    // More of them than a connection may have under way at a time.
    const other = await jsfs.connect();
    for (let n = 0; n < 80; n += 1) await (await other.get('/large.bin')).body.cancel();
    for (let n = 0; n < 80; n += 1) {
      const abort = new AbortController();
      const never = other.put(`/never.bin`, new ReadableStream(), { signal: abort.signal });
      abort.abort(new Error('enough'));
      await assert.rejects(never, /enough/);
    }
    assert.equal((await other.put('/wanted.txt', 'wanted')).size, 6);
    other.close();
  });

  it('refuse as HTTP does', async () => {
    await assert.rejects(connection.get('/nothing'), (error) => {
      assert.ok(error instanceof JsfsError);
      assert.deepEqual([error.status, error.title], [404, 'Not found']);
      assert.match(error.type, /#not-found$/);
      return true;
    });
    await assert.rejects(connection.call('reboot'), { name: 'JsfsError', status: 400 });
    const stranger = await new Jsfs({ url: node.url, WebSocket }).connect();
    await assert.rejects(stranger.put('/mine.bin', bytesOf(2 * MIB)), { name: 'JsfsError', status: 401 });
    assert.deepEqual(await stranger.call('ping'), {}, 'the connection goes on');
    stranger.close();
    await assert.rejects(new Jsfs({ url: node.url, key: 'jsfs_mistyped', WebSocket }).connect(), { name: 'JsfsError', status: 401 });
  });

  it('store nothing of a body that fails or is given up', async () => {
    const failing = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => controller.enqueue(bytesOf(100_000)),
      async pull(controller) {
        await setTimeout(20);
        controller.error(new Error('the source is gone'));
      },
    });
    await assert.rejects(connection.put('/failed.bin', failing), /the source is gone/);
    const abort = new AbortController();
    const endless = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        await setTimeout(5);
        controller.enqueue(bytesOf(1_000));
      },
    });
    const given = connection.put('/failed.bin', endless, { signal: abort.signal });
    await setTimeout(50);
    abort.abort(new Error('enough'));
    await assert.rejects(given, /enough/);
    const reading = await connection.get('/large.bin', { signal: (abort.signal, AbortSignal.timeout(50)) });
    await setTimeout(100);
    await assert.rejects(reading.bytes(), { name: 'TimeoutError' });
    await assert.rejects(jsfs.get('/failed.bin'), { status: 404 });
    assert.deepEqual(await connection.call('ping'), {}, 'the connection goes on');
  });

  it('fail what is under way when they end, and say why', async () => {
    const other = await jsfs.connect();
    const reading = await other.get('/large.bin');
    const never = other.put('/never.bin', new ReadableStream());
    other.close();
    await assert.rejects(never, ConnectionError);
    await assert.rejects(reading.bytes(), ConnectionError);
    await assert.rejects(other.call('ping'), { name: 'ConnectionError', code: 1000 });
    assert.equal((await other.closed).code, 1000);
    const stopped = await jsfs.connect();
    await node.stop();
    const { code, reason } = await stopped.closed;
    assert.equal(code, 1001);
    assert.match(reason, /retry in \d+ s/);
    await assert.rejects(jsfs.connect(), { name: 'ConnectionError', code: 1006 });
    await node.startAgain();
    await assert.rejects(jsfs.connect({ signal: AbortSignal.abort(new Error('enough')) }), /enough/);
  });
});

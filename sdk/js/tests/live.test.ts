// Following changes at a real node that restarts, is killed and loses connections.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import WebSocket from 'ws';
import { AccessKey, type Change, Jsfs, JsfsError, type Watch, type WatchEvent } from 'jsfs';
import { Node, missing } from './node.js';
import { counted } from './sockets.js';

/** The next events of a watch. */
async function take(watch: Watch, count: number): Promise<Change[]> {
  const events: WatchEvent[] = [];
  while (events.length < count) {
    const next = await watch.next();
    assert.ok(!next.done, `the watch is over after ${events.length} events`);
    events.push(next.value);
  }
  return events as Change[];
}

const told = ({ kind, address, version }: Change): string => `${kind} ${address} ${version}`;

describe('following changes', { skip: missing }, () => {
  let node: Node;
  let jsfs: Jsfs;

  before(async () => {
    node = await Node.start();
    jsfs = new Jsfs({ url: node.url, key: node.rootKey, WebSocket });
  });
  after(() => node.remove());

  it('tells of every change below a directory, in order', async () => {
    const watch = jsfs.watch('/kinds/');
    await watch.ready;
    const made = await jsfs.put('/kinds/a.txt', 'hello', { private: false });
    await jsfs.put('/elsewhere.txt', 'not watched');
    await jsfs.put('/kinds/a.txt', 'hello!');
    await jsfs.move('/kinds/a.txt', '/kinds/sub/b ä.txt');
    await jsfs.delete('/kinds/sub/b ä.txt');
    const [created, ...events] = await take(watch, 5);
    assert.ok(created);
    const { cursor, time, ...first } = created;
    assert.ok(cursor.length > 0 && Math.abs(time.getTime() - Date.now()) < 60_000);
    assert.deepEqual(first, {
      kind: 'created',
      address: '/localhost/kinds/a.txt',
      version: 1,
      private: false,
      size: 5,
      etag: made.etag,
      contentType: 'text/plain; charset=utf-8',
    });
    assert.equal(events.shift()?.kind, 'updated');
    const kinds = events.map(({ kind, address, from }) => [kind, address, from].filter(Boolean).join(' '));
    assert.deepEqual(kinds.slice(0, 2).sort(), [
      'deleted /localhost/kinds/a.txt',
      'moved /localhost/kinds/sub/b ä.txt /localhost/kinds/a.txt',
    ]);
    assert.equal(kinds[2], 'deleted /localhost/kinds/sub/b ä.txt');
    await watch.return();
  });

  it('follows a single object, in any namespace', async () => {
    await jsfs.put('/one.txt', '1');
    const watch = jsfs.watch('/.localhost/one.txt');
    await watch.ready;
    await jsfs.put('/one.txt.not', 'x');
    await jsfs.put('/one.txt', '2');
    assert.deepEqual((await take(watch, 1)).map(told), ['updated /localhost/one.txt 2']);
    await watch.return();
  });

  it('keeps the cursor of the last event that was handled, and goes on from it', async () => {
    const watch = jsfs.watch('/cursor/');
    assert.equal(watch.cursor, undefined);
    await watch.ready;
    const begin = watch.cursor;
    assert.ok(begin !== undefined);
    for (const name of ['a', 'b', 'c']) await jsfs.put(`/cursor/${name}`, name);
    const [first, second] = await take(watch, 2);
    assert.equal(watch.cursor, first?.cursor, 'the second was handed out, not handled');
    await take(watch, 1);
    assert.equal(watch.cursor, second?.cursor);
    const stored = watch.cursor;
    await watch.return();
    await jsfs.put('/cursor/d', 'd');
    const later = jsfs.watch('/cursor/', { since: stored ?? '' });
    assert.deepEqual((await take(later, 2)).map(told), ['created /localhost/cursor/c 1', 'created /localhost/cursor/d 1']);
    await later.return();
  });

  it('misses nothing when the node stops and is started again, and when it is killed', async () => {
    const watch = jsfs.watch('/restarts/');
    await watch.ready;
    await jsfs.put('/restarts/1', '');
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await node.stop(signal);
      await node.startAgain();
      await jsfs.put(`/restarts/${signal}`, '');
    }
    const seen = new Set((await take(watch, 3)).map(told));
    assert.deepEqual([...seen], ['created /localhost/restarts/1 1', 'created /localhost/restarts/SIGTERM 1', 'created /localhost/restarts/SIGKILL 1']);
    await watch.return();
  });

  it('shares one socket among watches, opens it again when it breaks, and closes it after the last', async () => {
    const WebSocket = counted();
    const client = new Jsfs({ url: node.url, key: node.rootKey, WebSocket });
    const watches = ['/x/', '/y/', '/x/a'].map((path) => client.watch(path));
    await Promise.all(watches.map(({ ready }) => ready));
    assert.equal(WebSocket.opened, 1);
    WebSocket.dropAll();
    await jsfs.put('/x/a', 'a');
    await jsfs.put('/y/b', 'b');
    const seen = await Promise.all(watches.map(async (watch) => told((await take(watch, 1))[0] as Change)));
    assert.deepEqual(seen, ['created /localhost/x/a 1', 'created /localhost/y/b 1', 'created /localhost/x/a 1']);
    assert.equal(WebSocket.opened, 2);
    for (const watch of watches) await watch.return();
    await setTimeout(100);
    const again = client.watch('/x/');
    await again.ready;
    assert.equal(WebSocket.opened, 3);
    await again.return();
  });

  it('waits longer and longer for a node that is away', async () => {
    const WebSocket = counted();
    const client = new Jsfs({ url: 'http://127.0.0.1:1', WebSocket });
    const watch = client.watch('/');
    await setTimeout(2_500);
    assert.ok(WebSocket.opened >= 2 && WebSocket.opened <= 5, `${WebSocket.opened} attempts in 2.5 s`);
    await watch.return();
    const { opened } = WebSocket;
    await setTimeout(1_500);
    assert.equal(WebSocket.opened, opened, 'it ends when nobody watches');
  });

  it('leaves what a slow consumer has not taken with the node, and loses none of it', async () => {
    for (let n = 0; n < 300; n += 1) await jsfs.put(`/many/00/${n}`, '');
    const WebSocket = counted();
    const watch = new Jsfs({ url: node.url, key: node.rootKey, WebSocket }).watch('/many/');
    await watch.ready;
    const copies = Array.from({ length: 12 }, (_, at) => String(at + 1).padStart(2, '0'));
    for (const copy of copies) {
      await jsfs.copy('/many/00/', `/many/${copy}/`);
      await setTimeout(20);
    }
    assert.ok(WebSocket.texts < 2_000, `${WebSocket.texts} messages came for a queue of 1,000`);
    const names = (await take(watch, 3_600)).map(({ address }) => address.slice('/localhost/many/'.length));
    assert.equal(new Set(names).size, 3_600);
    assert.deepEqual([...new Set(names.map((name) => name.slice(0, 2)))], copies, 'in the order of the copies');
    await watch.return();
  });

  it('says when a cursor is from another log, and that everything must be listed again', async () => {
    const here = jsfs.watch('/');
    await here.ready;
    const since = here.cursor ?? '';
    await here.return();
    const other = await Node.start();
    const client = new Jsfs({ url: other.url, key: other.rootKey, WebSocket });
    const watch = client.watch('/reset/', { since });
    const { value } = await watch.next();
    assert.equal(value?.kind, 'reset');
    await client.put('/reset/a', '');
    assert.deepEqual((await take(watch, 1)).map(told), ['created /localhost/reset/a 1']);
    assert.equal(watch.cursor, value?.cursor);
    await watch.return();
    await other.remove();
  });

  it('tells a stranger of what is public only', async () => {
    const watch = new Jsfs({ url: node.url, WebSocket }).watch('/mixed/');
    await watch.ready;
    await jsfs.put('/mixed/private', '');
    await jsfs.put('/mixed/public', '', { private: false });
    assert.deepEqual((await take(watch, 1)).map(told), ['created /localhost/mixed/public 1']);
    await watch.return();
  });

  it('ends with the token that it rests on', async () => {
    const key = await AccessKey.parse(node.rootKey);
    const token = await key.mint({ subject: '/localhost/', methods: ['WATCH', 'GET'], readKey: await jsfs.readKey('/') });
    const watch = new Jsfs({ url: node.url, token, WebSocket }).watch('/withdrawn/');
    await watch.ready;
    await jsfs.put('/withdrawn/a', '');
    assert.equal((await take(watch, 1)).length, 1);
    await jsfs.revokeToken(token);
    await jsfs.put('/withdrawn/b', '');
    await assert.rejects(watch.next(), (error) => error instanceof JsfsError && error.status === 401);
    assert.deepEqual(await watch.next().catch((error: JsfsError) => error.status), 401, 'and stays so');
  });

  it('ends at once where the node refuses', async () => {
    const malformed = jsfs.watch('/a/', { since: 'no cursor!' });
    await assert.rejects(malformed.ready, { name: 'JsfsError', status: 400 });
    await assert.rejects(malformed.next(), { name: 'JsfsError', status: 400 });
    const mistaken = new Jsfs({ url: node.url, key: 'jsfs_mistyped', WebSocket }).watch('/');
    await assert.rejects(mistaken.next(), { name: 'JsfsError', status: 401 });
  });

  it('ends when the loop is left, and with the reason of a signal', async () => {
    await jsfs.put('/loop/0', '');
    const abort = new AbortController();
    const watch = jsfs.watch('/loop/', { signal: abort.signal });
    await watch.ready;
    await jsfs.put('/loop/1', '');
    for await (const event of watch) {
      assert.equal(event.kind, 'created');
      break;
    }
    assert.deepEqual(await watch.next(), { done: true, value: undefined });
    const aborted = jsfs.watch('/loop/', { signal: abort.signal });
    const next = aborted.next();
    abort.abort(new Error('enough'));
    await assert.rejects(next, /enough/);
    assert.throws(() => jsfs.watch('/loop/', { signal: abort.signal }), /enough/);
  });

  it('takes a node for gone that says nothing any more', { timeout: 30_000 }, async (test) => {
    const WebSocket = counted();
    const silent = await Node.start();
    test.mock.timers.enable({ apis: ['setInterval', 'Date'] });
    const watch = new Jsfs({ url: silent.url, WebSocket }).watch('/');
    await watch.ready;
    silent.pause();
    const { opened } = WebSocket;
    for (let half = 0; half < 2; half += 1) {
      test.mock.timers.tick(30_000);
      await setTimeout(50);
    }
    // The suite's time-out ends this where the silence is not noticed.
    while (WebSocket.opened === opened) await setTimeout(50);
    await watch.return();
    await silent.remove();
  });

  it('says what to do where there is no WebSocket', { skip: 'WebSocket' in globalThis && 'this Node.js has one' }, () => {
    assert.throws(() => new Jsfs({ url: node.url }).watch('/'), { name: 'TypeError', message: /from 'ws'/ });
  });
});

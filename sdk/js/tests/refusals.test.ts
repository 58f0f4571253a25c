// Errors, and where credentials go. Servers that are no nodes stand for what may lie between a client and its node.

import assert from 'node:assert/strict';
import { type RequestListener, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { AccessKey, ConnectionError, Jsfs, JsfsError } from 'jsfs';
import { Node, missing } from './node.js';

describe('refusals of a node', { skip: missing }, () => {
  let node: Node;

  before(async () => void (node = await Node.start()));
  after(() => node.remove());

  it('have status, type, title and detail', async () => {
    await assert.rejects(new Jsfs({ url: node.url }).put('/a.txt', 'a'), (error) => {
      assert.ok(error instanceof JsfsError && error instanceof Error);
      assert.equal(error.status, 401);
      assert.match(error.type, /docs\/http\.md#unauthorized$/);
      assert.equal(error.title, 'Credential needed');
      assert.match(error.detail, /key/);
      assert.equal(error.message, `${error.detail} (401)`);
      return true;
    });
  });

  it('come through although the body was not taken', async () => {
    const large = new Blob([new Uint8Array(8 << 20)]);
    for (const body of [large, large.stream()]) {
      await assert.rejects(new Jsfs({ url: node.url }).put('/large.bin', body), (error) => {
        // The node answers and ends the connection; what arrives first is a matter of luck.
        assert.ok((error instanceof JsfsError && error.status === 401) || error instanceof ConnectionError);
        return true;
      });
    }
  });

  it('are made of redirects: the path of a directory ends in a slash', async () => {
    const jsfs = new Jsfs({ url: node.url, key: node.rootKey });
    await jsfs.put('/folder/a.txt', 'a');
    await assert.rejects(jsfs.get('/folder'), { name: 'JsfsError', status: 307, title: /ends in \// });
  });
});

describe('refusals of others', () => {
  const servers: ReturnType<typeof createServer>[] = [];
  after(() => servers.forEach((server) => server.close()));

  const serve = async (listener: RequestListener): Promise<string> => {
    const server = createServer(listener);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  it('are errors too where they are no problem documents', async () => {
    const url = await serve((_, answer) => answer.writeHead(503, { 'retry-after': '7', 'content-type': 'text/html' }).end('<h1>Sorry'));
    const expected = { name: 'JsfsError', status: 503, type: 'about:blank', title: 'Unavailable', detail: '', retryAfterSeconds: 7 };
    await assert.rejects(new Jsfs({ url }).get('/a'), expected);
  });

  it('never send a credential on to another host', async () => {
    let requests = 0;
    const elsewhere = await serve((_, answer) => void (requests += 1, answer.end('gotcha')));
    const url = await serve((_, answer) => answer.writeHead(302, { location: `${elsewhere}/a` }).end());
    const jsfs = new Jsfs({ url, key: await AccessKey.generate() });
    await assert.rejects(jsfs.get('/a'), { name: 'JsfsError', status: 302 });
    await assert.rejects(jsfs.put('/a', 'a'), { name: 'JsfsError', status: 302 });
    assert.equal(requests, 0);
  });

  it('are not what there is where nobody answers', async () => {
    await assert.rejects(new Jsfs({ url: 'http://127.0.0.1:1' }).get('/a'), (error) => {
      assert.ok(error instanceof ConnectionError && error.cause instanceof TypeError);
      assert.equal(error.code, undefined);
      return true;
    });
  });

  it('begin with a URL that can be one', () => {
    assert.throws(() => new Jsfs(), { name: 'TypeError', message: /pass url/ });
    assert.throws(() => new Jsfs({ url: 'ftp://localhost' }), TypeError);
    assert.throws(() => new Jsfs({ url: 'http://user:secret@localhost' }), (error: Error) => !error.message.includes('secret'));
  });

  it('can be given by a fetch of the caller', async () => {
    const asked: string[] = [];
    const fetch = (async (url, init) => {
      asked.push(`${init?.method} ${url} ${new Headers(init?.headers).get('authorization')}`);
      return new Response('', { status: 404 });
    }) satisfies typeof globalThis.fetch;
    await assert.rejects(new Jsfs({ url: 'https://example.com', key: 'k', fetch }).get('/a b'), { status: 404 });
    assert.deepEqual(asked, ['GET https://example.com/a%20b Bearer k']);
  });
});

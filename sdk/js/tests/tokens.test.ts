// Access keys and tokens made without a node, and what a real node makes of them. That they are the formats' is checked by docs/vectors.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { AccessKey, AccessToken, InvalidError, Jsfs, type Method } from 'jsfs';
import { Node, missing } from './node.js';

const soon = (): Date => new Date(Date.now() + 60_000);

describe('keys and tokens', () => {
  it('generates keys that read back, each another', async () => {
    const [one, two] = [await AccessKey.generate(), await AccessKey.generate()];
    assert.match(one.text, /^jsfs_[1-9A-HJ-NP-Za-km-z]{40,50}$/);
    assert.notEqual(one.text, two.text);
    assert.equal((await AccessKey.parse(one.text)).owner, one.owner);
    assert.notEqual(one.owner, two.owner);
  });

  it('names the mistake in a key', async () => {
    const { text } = await AccessKey.generate();
    const mistakes = {
      checksum: text.slice(0, -1) + (text.endsWith('1') ? '2' : '1'),
      length: text.slice(0, -3),
      'not base58': text.replace(/.$/, '0'),
      chosen: 'correct horse battery staple',
      empty: '',
      'too long': 'x'.repeat(1_025),
    };
    for (const [reason, mistaken] of Object.entries(mistakes)) {
      await assert.rejects(AccessKey.parse(mistaken), (error) => {
        assert.ok(error instanceof InvalidError);
        assert.equal(error.reason, reason);
        assert.ok(mistaken === '' || !error.message.includes(mistaken), 'the key is not in the message');
        return true;
      });
    }
  });

  it('makes tokens that say what was asked for', async () => {
    const key = await AccessKey.generate();
    const [notBefore, expires] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-02-01T00:00:00Z')];
    const made = await key.mint({ subject: '/com.example/a/', methods: ['DELETE', 'GET'], notBefore, expires });
    const token = await AccessToken.parse(made.text);
    assert.deepEqual(
      [token.issuer, token.subject, token.methods, token.notBefore, token.expires, token.readKey],
      [key.owner, '/com.example/a/', ['GET', 'DELETE'], notBefore, expires, null],
    );
    await token.verify(notBefore);
    await assert.rejects(token.verify(new Date(notBefore.getTime() - 1)), { reason: 'not yet valid' });
    await assert.rejects(token.verify(expires), { reason: 'expired' });
    assert.ok(token.covers('/com.example/a/b') && !token.covers('/com.example/b'));
    assert.notEqual((await key.mint({ subject: '/com.example/a/', methods: ['GET'] })).jti, token.jti);
    const week = await key.mint({ subject: '/com.example/', methods: ['GET'] });
    assert.ok(Math.abs(week.expires.getTime() - Date.now() - 7 * 86_400_000) < 10_000);
    const [header, , signature] = token.publicText.split('.');
    const forged = await AccessToken.parse(`${header}.${week.publicText.split('.')[1]}.${signature}`);
    await assert.rejects(forged.verify(), { reason: 'signature' });
  });

  it('refuses to make what would be no token', async () => {
    const key = await AccessKey.generate();
    const mistakes = [
      { subject: 'com.example', methods: ['GET'] },
      { subject: '/com.example/../a', methods: ['GET'] },
      { subject: '/com.example/', methods: [] },
      { subject: '/com.example/', methods: ['GET', 'READ' as Method] },
      { subject: '/com.example/', methods: ['GET'], expires: new Date(NaN) },
      { subject: '/com.example/', methods: ['GET'], expires: new Date(0), notBefore: new Date(1_000) },
    ] as const;
    for (const options of mistakes) await assert.rejects(key.mint(options), InvalidError, inspect(options));
  });

  it('does not print secrets', async () => {
    const key = await AccessKey.generate();
    const token = await key.mint({ subject: '/com.example/', methods: ['PUT'] });
    const jsfs = new Jsfs({ url: 'http://localhost', key, token });
    const printed = [key, token, jsfs].flatMap((thing) => [inspect(thing, { depth: 9 }), JSON.stringify(thing), String(thing)]).join();
    assert.ok(!printed.includes(key.text), 'the key');
    assert.ok(!printed.includes(token.text.split('.')[3] ?? ''), 'the fourth part of the token');
    assert.ok(printed.includes(token.publicText), 'the rest of the token is no secret');
  });
});

describe('keys and tokens at a node', { skip: missing }, () => {
  let node: Node;
  let owner: Jsfs;
  let key: AccessKey;

  before(async () => {
    node = await Node.start();
    key = await AccessKey.parse(node.rootKey);
    owner = new Jsfs({ url: node.url, key });
    await owner.put('/shared/notes/a.txt', 'private a');
    await owner.put('/shared/b.txt', 'private b');
    await owner.put('/c.txt', 'private c');
  });
  after(() => node.remove());

  const bearer = async (subject: string, ...methods: Method[]): Promise<Jsfs> => {
    const readKey = await owner.readKey('/');
    return new Jsfs({ url: node.url, token: await key.mint({ subject, methods, readKey, expires: soon() }) });
  };

  it('derives the owner that the node knows', async () => {
    assert.equal((await owner.put('/owned.txt', '')).owner, key.owner);
  });

  it('derives the read keys that the node has', async () => {
    const [top, below] = [await owner.readKey('/'), await owner.readKey('/shared/notes/a.txt')];
    assert.equal(top.address, '/localhost/');
    assert.equal((await top.below('/localhost/shared/notes/a.txt')).text, below.text);
    assert.notEqual((await top.below('/localhost/shared/notes/')).text, below.text);
    await assert.rejects(below.below('/localhost/'), InvalidError);
  });

  it('opens with a token made offline what it is for, and nothing else', async () => {
    const reader = await bearer('/localhost/shared/', 'GET', 'LIST');
    assert.equal(await (await reader.get('/shared/notes/a.txt')).text(), 'private a');
    const names: string[] = [];
    for await (const { name } of reader.list('/shared/', { recursive: true })) names.push(name);
    assert.deepEqual(names, ['b.txt', 'notes/a.txt']);
    await assert.rejects(reader.get('/c.txt'), { status: 404 });
    await assert.rejects(reader.put('/shared/b.txt', 'mine'), { status: 403 });
    const exact = await bearer('/localhost/shared/b.txt', 'GET');
    assert.equal(await (await exact.get('/shared/b.txt')).text(), 'private b');
    await assert.rejects(exact.get('/shared/notes/a.txt'), { status: 404 });
    await assert.rejects(exact.list('/shared/').next(), { status: 404 });
  });

  it('writes and deletes with a token made offline', async () => {
    const writer = await bearer('/localhost/drop/', 'PUT', 'GET');
    await writer.put('/drop/in.txt', 'from a bearer');
    assert.equal(await (await owner.get('/drop/in.txt')).text(), 'from a bearer');
    assert.equal(await (await writer.get('/drop/in.txt')).text(), 'from a bearer');
    await assert.rejects(writer.delete('/drop/in.txt'), { status: 403 });
    await (await bearer('/localhost/drop/', 'DELETE')).delete('/drop/in.txt');
    await assert.rejects(owner.get('/drop/in.txt'), { status: 404 });
  });

  it('opens nothing private with a token that has no read key', async () => {
    const token = await key.mint({ subject: '/localhost/', methods: ['GET', 'LIST'], expires: soon() });
    await assert.rejects(new Jsfs({ url: node.url, token }).get('/c.txt'), { status: 404 });
  });

  it('is refused with a token that is over, and told why', async () => {
    const expires = new Date(Date.now() - 60_000);
    const token = await key.mint({ subject: '/localhost/', methods: ['PUT'], expires, readKey: await owner.readKey('/') });
    await assert.rejects(new Jsfs({ url: node.url, token }).put('/late.txt', ''), { status: 401, detail: /expired/ });
  });

  it('withdraws tokens', async () => {
    const token = await key.mint({ subject: '/localhost/c.txt', methods: ['GET'], readKey: await owner.readKey('/') });
    const reader = new Jsfs({ url: node.url, token });
    assert.equal(await (await reader.get('/c.txt')).text(), 'private c');
    await owner.revokeToken(token);
    await assert.rejects(reader.get('/c.txt'), { status: 404 });
    const other = await owner.createToken('/c.txt');
    await owner.revokeToken(other.text);
    await assert.rejects(new Jsfs({ url: node.url, token: other }).get('/c.txt'), { status: 404 });
  });

  it('understands the tokens that the node makes', async () => {
    const expires = new Date(Math.floor(soon().getTime() / 1_000) * 1_000);
    const token = await owner.createToken('/shared/', { methods: ['PUT', 'GET'], expires });
    await token.verify();
    assert.deepEqual([token.issuer, token.subject, token.expires], [key.owner, '/localhost/shared/', expires]);
    assert.deepEqual(token.methods, ['GET', 'PUT']);
    assert.equal(token.readKey?.text, (await owner.readKey('/shared/')).text);
  });

  it('hands a directory over to a new key', async () => {
    const next = await AccessKey.generate();
    await owner.put('/handed/a.txt', 'a');
    await owner.patch('/handed/', { replacementKey: next });
    const heir = new Jsfs({ url: node.url, key: next.text });
    assert.equal((await heir.put('/handed/b.txt', 'b')).owner, next.owner);
    await assert.rejects(owner.put('/handed/c.txt', 'c'), { status: 401 });
    const token = await next.mint({ subject: heir.address('/handed/'), methods: ['GET'], readKey: await heir.readKey('/handed/') });
    assert.equal(await (await new Jsfs({ url: node.url, token }).get('/handed/b.txt')).text(), 'b');
  });

  it('takes a key that a person chose, in any script, and lets the node make its tokens', async () => {
    const chosen = 'Pferd Akku Heftklammer größer 馬';
    await owner.put('/chosen.txt', 'chosen', { replacementKey: chosen });
    const person = new Jsfs({ url: node.url, key: chosen });
    assert.equal(await (await person.get('/chosen.txt')).text(), 'chosen');
    const reader = new Jsfs({ url: node.url, token: await person.createToken('/chosen.txt') });
    assert.equal(await (await reader.get('/chosen.txt')).text(), 'chosen');
    await assert.rejects(owner.put('/chosen.txt', 'mine'), { status: 401 });
  });

  it('presents a key and a token together', async () => {
    const other = await AccessKey.generate();
    const token = await key.mint({ subject: '/localhost/c.txt', methods: ['GET'], readKey: await owner.readKey('/') });
    const both = new Jsfs({ url: node.url, key: other, token });
    assert.equal(await (await both.get('/c.txt')).text(), 'private c');
    await owner.put('/other.txt', 'other', { replacementKey: other });
    assert.equal(await (await both.get('/other.txt')).text(), 'other');
  });
});

// Checks every vector of this folder with a second implementation of docs/formats.md, which shares no code with the first: the SDK's
// addresses, keys and tokens, and beside them what only a node needs. Prints how many were checked, names each that fails, and exits 1 if
// any does.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';

const here = new URL('.', import.meta.url);
for (const [needed, how] of [
  ['node_modules', 'run `npm ci` here first, which installs BLAKE3 and Argon2id'],
  ['../../sdk/js/dist/', 'run `npm ci && npm run build` in sdk/js first, which builds the SDK'],
]) {
  if (existsSync(new URL(needed, here))) continue;
  console.error(`docs/vectors: ${how}`);
  process.exit(1);
}

const { covers, parseAddress } = await import('../../sdk/js/dist/address.js');
const { unbase64url } = await import('../../sdk/js/dist/bytes.js');
const { derive, keyText, readKeyText } = await import('../../sdk/js/dist/key.js');
const { didOf, keyOfDid } = await import('../../sdk/js/dist/owner.js');
const { descend } = await import('../../sdk/js/dist/read_key.js');
const { AccessToken } = await import('../../sdk/js/dist/token.js');
const address = await import('./lib/address.mjs');
const { concat, hex, unhex, utf8 } = await import('./lib/bytes.mjs');
const cbor = await import('./lib/cbor.mjs');
const keys = await import('./lib/keys.mjs');
const { blake3, openGcm, sealGcm, sign, unwrap, verify, wrap } = await import('./lib/primitives.mjs');
const membership = await import('./lib/membership.mjs');
const metastore = await import('./lib/metastore.mjs');
const protocol = await import('./lib/protocol.mjs');
const records = await import('./lib/record.mjs');

// What a function gives, or why it refuses.
async function outcome(act) {
  try {
    return { value: await act() };
  } catch (error) {
    if (!error.reason) throw error;
    return { error: error.reason };
  }
}

const refuses = async (act) => {
  try {
    await act();
  } catch (error) {
    assert.ok(!(error instanceof TypeError || error instanceof ReferenceError), error);
    return;
  }
  assert.fail('accepted what has to be refused');
};

const optional = (bytes) => bytes && hex(bytes);

const checks = {
  addresses: {
    async requests(vector) {
      const got = await outcome(() => address.fromRequest(vector.host, vector.path));
      assert.deepEqual(got, 'address' in vector ? { value: vector.address } : { error: vector.error });
    },
    async texts(vector) {
      const got = await outcome(() => parseAddress(vector.text));
      assert.deepEqual(got, 'address' in vector ? { value: vector.address } : { error: vector.error });
    },
    urls(vector) {
      assert.equal(address.hostOf(vector.address), vector.host);
      assert.equal(address.pathOf(vector.address), vector.path);
      assert.equal(address.absolutePathOf(vector.address), vector.absolute_path);
      assert.equal(address.fromRequest(vector.host, vector.path), vector.address);
      assert.equal(address.fromRequest('192.0.2.1', vector.absolute_path), vector.address);
    },
  },

  keys: {
    async generated(vector) {
      const seed = unhex(vector.seed);
      assert.equal(await keyText(seed), vector.text);
      assert.equal(hex((await readKeyText(vector.text)).seed), vector.seed);
      const { signingSecret, ownerKey } = await derive(seed);
      assert.equal(hex(signingSecret), vector.signing_secret);
      assert.equal(hex(ownerKey), vector.owner_key);
      assert.equal(hex(await keys.wrappingKey(seed)), vector.wrapping_key);
      assert.equal(didOf(ownerKey), vector.owner);
      assert.equal(hex(keyOfDid(vector.owner)), vector.owner_key);
      assert.equal(hex(await sign(signingSecret, utf8('message'))), vector.signature_of_message);
      assert.ok(await verify(ownerKey, utf8('message'), unhex(vector.signature_of_message)));
    },
    async chosen(vector) {
      assert.deepEqual(await readKeyText(vector.text), { chosen: vector.text });
      assert.equal(hex(await keys.stretchKey(vector.text, vector.namespace)), vector.seed);
    },
    async invalid(vector) {
      assert.deepEqual(await readKeyText(vector.text), { error: vector.error });
    },
    invalid_owners(vector) {
      assert.equal(keyOfDid(vector), null);
    },
  },

  read_keys: {
    async descents(vector) {
      const key = await descend(unhex(vector.root), vector.from, vector.to);
      assert.equal(optional(key), vector.read_key);
      assert.equal(key && hex(await keys.privateLocator(key)), vector.locator);
      const group = key && vector.to.endsWith('/') ? hex(await keys.privateGroup(key)) : null;
      assert.equal(group, vector.group);
    },
    public(vector) {
      assert.equal(hex(keys.publicLocator(vector.address)), vector.locator);
      assert.equal(hex(keys.publicLocator(address.parentOf(vector.address))), vector.listed_in);
    },
    async convergence(vector) {
      const secret = await keys.convergenceOf(unhex(vector.read_key));
      const hash = blake3(utf8(vector.plaintext));
      assert.equal(hex(secret), vector.convergence);
      assert.equal(hex(hash), vector.hash);
      assert.equal(hex(await keys.tagOf(secret, hash)), vector.tag);
      assert.equal(hex(await keys.convergenceOfDirectory(secret, vector.directory)), vector.of_directory);
      assert.equal(hex(await keys.wrapBlockKey(secret, hash, unhex(vector.block_key))), vector.wrapped);
      assert.equal(hex(await keys.unwrapBlockKey(secret, hash, unhex(vector.wrapped))), vector.block_key);
    },
    async places(vector) {
      const wrapping = await keys.wrappingKey(unhex(vector.seed));
      assert.equal(hex(await wrap(wrapping, unhex(vector.root))), vector.wrapped);
      assert.equal(hex(await unwrap(wrapping, unhex(vector.wrapped))), vector.root);
      assert.equal(hex(await wrap(unhex(vector.root), unhex(vector.older_root))), vector.older_wrapped);
      assert.equal(hex(await unwrap(unhex(vector.root), unhex(vector.older_wrapped))), vector.older_root);
    },
    async unopened_places(vector) {
      const wrapping = await keys.wrappingKey(unhex(vector.seed));
      assert.equal(await unwrap(wrapping, unhex(vector.wrapped)), null);
    },
  },

  blocks: {
    async sealed(vector) {
      const header = Uint8Array.of(1, 1);
      const plaintext = unhex(vector.plaintext);
      const length = new Uint8Array(Uint32Array.of(plaintext.length).buffer);
      assert.equal(hex(concat(new Uint8Array(4), length, plaintext)), vector.body);
      const stored = concat(header, await sealGcm(unhex(vector.key), header, unhex(vector.body)));
      assert.equal(hex(stored), vector.stored);
      assert.equal(hex(blake3(stored)), vector.id);
    },
    async deltas(vector) {
      const [key, base] = [unhex(vector.key), unhex(vector.base)];
      const plaintext = unhex(vector.plaintext);
      const length = new Uint8Array(Uint32Array.of(plaintext.length).buffer);
      const raw = new Uint8Array(Uint32Array.of((plaintext.length << 3) | 1).buffer).subarray(0, 3);
      const frame = concat(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0), raw, plaintext);
      const body = concat(Uint8Array.of(2, 0, 0, 0), length, frame);
      assert.equal(hex(body), vector.body);
      assert.equal(hex(concat(Uint8Array.of(1, 3), base, body)), vector.clear);
      const header = concat(Uint8Array.of(1, 4), base);
      const stored = concat(header, await sealGcm(key, header, concat(unhex(vector.base_key), body)));
      assert.equal(hex(stored), vector.stored);
      assert.equal(hex(blake3(stored)), vector.id);
    },
    async unopened(vector) {
      const stored = unhex(vector.stored);
      const sealed = stored[0] === 1 && stored[1] === 1;
      const opened = sealed && (await openGcm(unhex(vector.key), stored.subarray(0, 2), stored.subarray(2)));
      assert.ok(!opened);
    },
  },

  manifests: {
    valid(vector) {
      const value = cbor.decode(unhex(vector.encoding));
      assert.equal(records.manifestLength(value), BigInt(vector.manifest.length));
      assert.equal(hex(cbor.encode(records.describedManifest(vector.manifest))), vector.encoding);
    },
    async invalid(vector) {
      await refuses(() => records.manifestLength(cbor.decode(unhex(vector.encoding))));
    },
    pages(vector) {
      const [level, items] = cbor.decode(unhex(vector.parent));
      const page = cbor.decode(unhex(vector.page));
      assert.ok(unhex(vector.page).length <= 65_536);
      assert.equal(page[0], level - 1n);
      assert.equal(Number(page[0]), vector.level);
      assert.equal(records.manifestLength(page), items[vector.index][2]);
    },
  },

  records: {
    async valid(vector) {
      const bytes = unhex(vector.encoding);
      const record = records.readRecord(bytes);
      assert.equal(hex(blake3(bytes)), vector.hash);
      assert.equal(hex(cbor.encode(records.describedRecord(vector.record, record))), vector.encoding);
      assert.ok(await records.delegationVerifies(record));
      assert.equal('read_key' in vector, record.has(11));
      if (!record.has(11)) return;
      const opened = await records.openRecord(record, unhex(vector.read_key));
      assert.equal(hex(opened), vector.opened_encoding);
      records.checkContent(cbor.decode(opened));
      assert.equal(hex(cbor.encode(records.describedContent(vector.opened))), vector.opened_encoding);
    },
    async invalid(vector) {
      await refuses(() => records.readRecord(unhex(vector.encoding)));
    },
    async unopened(vector) {
      const record = records.readRecord(unhex(vector.encoding));
      assert.equal(await records.openRecord(record, unhex(vector.read_key)), null);
    },
  },

  envelopes: {
    async valid(vector) {
      const verified = await records.verifyEnvelope(unhex(vector.encoding), vector.now_ms);
      assert.equal(hex(verified.recordBytes), vector.record);
      assert.equal(hex(blake3(verified.recordBytes)), vector.record_hash);
      assert.equal(verified.token?.publicText ?? null, vector.token);
      assert.equal(hex(verified.node), vector.node);
      assert.equal(verified.acceptedMs, BigInt(vector.accepted_ms));
    },
    async invalid(vector) {
      const got = await outcome(() => records.verifyEnvelope(unhex(vector.encoding), vector.now_ms));
      assert.deepEqual(got, { error: vector.error });
    },
  },

  membership: {
    async credentials(vector) {
      const encoding = unhex(vector.credential);
      const verdict = await membership.judge(encoding, {
        federation: vector.federation,
        peer: vector.peer,
        now: BigInt(vector.now_ms),
        revokedEpoch: BigInt(vector.revoked_epoch),
      });
      assert.equal(verdict, vector.verdict);
      assert.equal(hex(cbor.encode(cbor.decode(encoding))), vector.credential);
    },
    async malformed(vector) {
      await refuses(() => membership.readCredential(unhex(vector.credential)));
    },
    placement(vector) {
      assert.deepEqual(membership.place(unhex(vector.block), vector.sites), vector.order);
    },
    async revocations(vector) {
      const got = await membership.readRevocation(unhex(vector.encoding));
      assert.deepEqual(got, { ...vector, encoding: undefined, epoch: BigInt(vector.epoch) });
    },
    tickets(vector) {
      const { text, ...expected } = vector;
      assert.deepEqual(membership.readTicket(text), { ...expected, expires_ms: BigInt(vector.expires_ms) });
      const last = text.endsWith('2') ? '3' : '2';
      assert.throws(() => membership.readTicket(text.slice(0, -1) + last));
    },
  },

  metastore: {
    messages(vector) {
      const encoding = unhex(vector.encoding);
      assert.deepEqual(metastore.read(vector.side, encoding), vector.value);
      assert.equal(hex(cbor.encode(cbor.decode(encoding))), vector.encoding);
    },
    async malformed(vector) {
      await refuses(() => metastore.read(vector.side, unhex(vector.encoding)));
    },
    homes(vector) {
      assert.deepEqual(metastore.replicas(unhex(vector.home), vector.members), vector.replicas);
    },
    fingerprints(vector) {
      assert.equal(hex(metastore.fingerprint(vector.rows.map(unhex))), vector.fingerprint);
    },
    shards(vector) {
      assert.equal(hex(metastore.shard(unhex(vector.group), unhex(vector.locator), vector.digits)), vector.home);
    },
  },

  protocols: {
    frames(vector) {
      assert.equal(hex(protocol.frameHead(vector.length)), vector.head);
    },
    async items(vector) {
      const bytes = unhex(vector.encoding);
      assert.equal(hex(protocol.writeItem(vector.value, bytes)), vector.encoding);
      assert.equal(hex(protocol.mark(bytes)), vector.mark);
      assert.ok(await protocol.isSigned(vector.value, bytes));
    },
    rosters(vector) {
      assert.equal(hex(protocol.digest(vector.items.map(unhex))), vector.digest);
    },
    membership(vector) {
      assert.equal(hex(protocol.writeMembership(vector.side, vector.value)), vector.encoding);
      if (vector.side === 'request') protocol.readRequest('membership', unhex(vector.encoding));
    },
    blockstore(vector) {
      assert.equal(hex(protocol.writeBlockstore(vector.side, vector.value)), vector.encoding);
      if (vector.side === 'request') protocol.readRequest('blockstore', unhex(vector.encoding));
    },
    async malformed(vector) {
      await refuses(() => protocol.readRequest(vector.protocol, unhex(vector.encoding)));
    },
  },

  tokens: {
    async valid(vector) {
      const token = await AccessToken.parse(vector.text);
      await token.verify(new Date(vector.now_s * 1_000));
      assert.deepEqual(
        {
          text: vector.text,
          now_s: vector.now_s,
          public: token.publicText,
          issuer: token.issuer,
          subject: token.subject,
          methods: token.methods,
          expires_s: token.expires.getTime() / 1_000,
          not_before_s: token.notBefore && token.notBefore.getTime() / 1_000,
          jti: token.jti,
          confirmation: optional(token.confirmation),
          read: optional(token.readKey && unbase64url(token.readKey.text)),
          key: optional(token.key),
        },
        vector,
      );
    },
    async invalid(vector) {
      const got = await outcome(async () => {
        const token = await AccessToken.parse(vector.text);
        await token.verify(new Date(vector.now_s * 1_000));
      });
      assert.deepEqual(got, { error: vector.error });
    },
    covers(vector) {
      assert.equal(covers(vector.subject, vector.address), vector.covers);
    },
  },
};

let checked = 0;
let failed = 0;
const files = readdirSync(here).filter((name) => name.endsWith('.json') && !name.startsWith('package'));
assert.deepEqual(files.sort(), Object.keys(checks).map((name) => `${name}.json`).sort(), 'the files of vectors');
for (const [file, kinds] of Object.entries(checks)) {
  const vectors = JSON.parse(readFileSync(new URL(`${file}.json`, here), 'utf8'));
  assert.deepEqual(Object.keys(vectors).sort(), Object.keys(kinds).sort(), `the kinds in ${file}.json`);
  for (const [kind, all] of Object.entries(vectors)) {
    assert.ok(all.length > 0, `${file}.json has no ${kind}`);
    for (const [index, vector] of all.entries()) {
      checked += 1;
      try {
        await kinds[kind](vector);
      } catch (error) {
        failed += 1;
        console.error(`${file}.json ${kind}[${index}] ${vector.why ?? ''}: ${error.message}`);
      }
    }
  }
}
console.log(`${checked} vectors checked, ${failed} failed`);
process.exitCode = failed ? 1 : 0;

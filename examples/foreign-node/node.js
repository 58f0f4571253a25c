// A node of a federation that keeps blocks: `node node.js DIR TICKET` joins, `node node.js DIR` goes on. It prints one line when it is ready and ends
// with SIGTERM. Written from docs/protocols alone.

import './polyfill.js';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { BLOCKSTORE, Blocks } from './blocks.js';
import { decode, encode } from './cbor.js';
import { Frames } from './frames.js';
import { MEMBERSHIP, ask, greet, serve } from './membership.js';
import { Roster, item, readTicket } from './roster.js';

const BYTES_MAX = 1 << 30;
const COMPARE_MS = 10_000;

const [directory, ticketText] = process.argv.slice(2);
if (!directory) {
  console.error('usage: node node.js DIR [TICKET]');
  process.exit(2);
}
await mkdir(directory, { recursive: true, mode: 0o700 });

// The identity: a seed that stays in the directory.
const seedFile = join(directory, 'seed');
if (!existsSync(seedFile)) await writeFile(seedFile, randomBytes(32), { mode: 0o600 });
const privateKey = await generateKeyPairFromSeed('Ed25519', await readFile(seedFile));
const me = Buffer.from(privateKey.publicKey.raw);

const node = await createLibp2p({
  privateKey,
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
});
const open = async (to, protocol) => new Frames(await node.dialProtocol(to, protocol));

// What it knows of the federation: what it was told last time, or by whom the ticket names.
const stateFile = join(directory, 'roster');
let roster;
async function save() {
  const state = encode([Buffer.from(roster.federation, 'hex'), roster.items()]);
  await writeFile(`${stateFile}.new`, state, { mode: 0o600 });
  await rename(`${stateFile}.new`, stateFile);
}

let host;
let frames;
if (ticketText) {
  const ticket = readTicket(ticketText);
  roster = new Roster(ticket.federation);
  host = multiaddr(ticket.addresses[0]);
  frames = await open(host, MEMBERSHIP);
  const [, credential] = await ask(frames, [2, ticket.secret]);
  if (!roster.add(item(1, credential)) || !roster.credential(me)) throw new Error('what came back is not a credential of this federation for this node');
} else {
  const [federation, items] = decode(await readFile(stateFile));
  roster = new Roster(federation);
  items.forEach((bytes) => roster.add(bytes));
}

const addresses = node.getMultiaddrs().map((address) => address.toString().split('/p2p/')[0]);
const announcement = encode(new Map([[1, Buffer.from(roster.federation, 'hex')], [2, me], [3, Date.now()], [4, addresses]]));
const signature = await privateKey.sign(Buffer.concat([Buffer.from('jsfs/v1/announcement'), announcement]));
roster.add(item(2, [announcement, Buffer.from(signature)]));

const blocks = await Blocks.in(directory, BYTES_MAX);
const quietly = (work) => work.catch(() => {});
await node.handle(
  MEMBERSHIP,
  (stream, connection) => quietly(serve(stream, connection.remotePeer.publicKey.raw, me, roster).finally(() => stream.close())),
  { maxInboundStreams: 64 },
);
await node.handle(
  BLOCKSTORE,
  (stream, connection) => {
    const peer = connection.remotePeer.publicKey.raw;
    return quietly(blocks.serve(stream, peer, () => roster.reads(peer)).finally(() => stream.close()));
  },
  { maxInboundStreams: 256 },
);

// Greets the others now and then, which also connects to them again.
async function compare() {
  for (const { peer, addresses: theirs } of roster.addresses()) {
    if (peer === me.toString('hex') || theirs.length === 0) continue;
    await quietly(
      (async () => {
        const talk = await open(theirs.map((address) => multiaddr(address)), MEMBERSHIP);
        await greet(talk, me, roster);
        await talk.stream.close();
      })(),
    );
  }
  await save();
}
if (frames) await greet(frames, me, roster);
await compare();
setInterval(() => quietly(compare()), COMPARE_MS);

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => node.stop().finally(() => process.exit(0)));
console.log(`ready ${me.toString('hex')}`);

// `/jsfs/blockstore/1` over a directory with one file for each block. Leases are kept beside them; what nobody has a lease on is removed.

import { existsSync, readdirSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decode, encode } from './cbor.js';
import { Frames } from './frames.js';
import { hash } from './roster.js';

export const BLOCKSTORE = '/jsfs/blockstore/1';
const REQUEST_MAX = 64 << 10;
const BLOCK_MAX = 1_049_600;
const IDLE_MS = 300_000;
const SWEEP_MS = 60_000;
const [UNKNOWN, MALFORMED, NOT_MEMBER, FULL, DAMAGED, ABSENT] = [1, 2, 3, 6, 10, 11];

const hex = (bytes) => Buffer.from(bytes).toString('hex');

function ids(bytes) {
  if (!(bytes instanceof Uint8Array) || bytes.length === 0 || bytes.length % 32) throw new Error('no list of blocks');
  return Array.from({ length: bytes.length / 32 }, (_, at) => hex(bytes.subarray(at * 32, at * 32 + 32)));
}

function bitmap(bits) {
  const bytes = Buffer.alloc(Math.ceil(bits.length / 8));
  bits.forEach((bit, at) => (bytes[at >> 3] |= Number(bit) << (at & 7)));
  return bytes;
}

export class Blocks {
  // What each peer has a lease on, until when.
  #leases = new Map();

  static async in(directory, bytesMax) {
    const blocks = new Blocks();
    Object.assign(blocks, { directory: join(directory, 'blocks'), leaseFile: join(directory, 'leases.json'), bytesMax });
    await mkdir(blocks.directory, { recursive: true });
    if (existsSync(blocks.leaseFile)) blocks.#leases = new Map(JSON.parse(await readFile(blocks.leaseFile, 'utf8')));
    setInterval(() => blocks.#sweep(), SWEEP_MS).unref();
    return blocks;
  }

  has(id) {
    return existsSync(join(this.directory, id));
  }

  async #get(id) {
    const bytes = await readFile(join(this.directory, id)).catch(() => null);
    return bytes && hex(hash(bytes)) === id ? bytes : null;
  }

  async #keep(id, bytes) {
    const path = join(this.directory, id);
    const file = await open(`${path}.new`, 'w');
    await file.writeFile(bytes);
    await file.sync();
    await file.close();
    await rename(`${path}.new`, path);
  }

  async #lease(peer, some, until) {
    for (const id of some) this.#leases.set(`${id} ${peer}`, until);
    await writeFile(`${this.leaseFile}.new`, JSON.stringify([...this.#leases]));
    await rename(`${this.leaseFile}.new`, this.leaseFile);
  }

  async #sweep() {
    for (const [key, until] of this.#leases) if (until <= Date.now()) this.#leases.delete(key);
    const needed = new Set([...this.#leases.keys()].map((key) => key.split(' ')[0]));
    for (const id of readdirSync(this.directory)) if (!needed.has(id)) await rm(join(this.directory, id), { force: true });
  }

  async serve(stream, peer, isMember) {
    const frames = new Frames(stream);
    for (;;) {
      const message = await frames.next(REQUEST_MAX, IDLE_MS);
      if (!message) return;
      const refuse = (code) => frames.send(encode([0, code]));
      if (!isMember()) return refuse(NOT_MEMBER);
      let request;
      try {
        const [kind, list, lease] = decode(message);
        request = { kind, some: ids(list), until: Date.now() + lease * 1_000 };
      } catch {
        return refuse(MALFORMED);
      }
      await this.#answer(frames, hex(peer), request, refuse);
    }
  }

  async #answer(frames, peer, { kind, some, until }, refuse) {
    if (kind === 1) return frames.send(encode([1, bitmap(some.map((id) => this.has(id)))]));
    if (kind === 2) {
      for (const id of some) {
        const bytes = await this.#get(id);
        await (bytes ? frames.send(Buffer.of(0), bytes) : frames.send(Buffer.of(1, ABSENT)));
      }
      return undefined;
    }
    if (kind === 3) return this.#put(frames, peer, some, until);
    if (kind === 4) {
      const here = some.map((id) => this.has(id));
      await this.#lease(peer, some.filter((_, at) => here[at]), until);
      return frames.send(encode([1, bitmap(here)]));
    }
    if (kind === 5) {
      const had = some.map((id) => this.#leases.delete(`${id} ${peer}`));
      await this.#lease(peer, [], 0);
      return frames.send(encode([1, bitmap(had)]));
    }
    return refuse(UNKNOWN);
  }

  async #put(frames, peer, some, until) {
    const codes = Buffer.alloc(some.length);
    for (const [at, id] of some.entries()) {
      const bytes = await frames.next(BLOCK_MAX);
      if (!bytes) throw new Error('cut short');
      if (hex(hash(bytes)) !== id) codes[at] = DAMAGED;
      else if (readdirSync(this.directory).length * BLOCK_MAX > this.bytesMax) codes[at] = FULL;
      else await this.#keep(id, bytes);
    }
    await this.#lease(peer, some.filter((_, at) => codes[at] === 0), until);
    return frames.send(encode([2, codes]));
  }
}

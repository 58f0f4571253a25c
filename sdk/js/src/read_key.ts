// Read keys: what opens the private objects of a tree (docs/formats.md, "Places and read keys").
//
// A directory's read key gives that of everything below it by HMAC, and nothing gives that of the directory above.

import { covers } from './address.js';
import { type Bytes, base64url } from './bytes.js';
import { hmac } from './crypto.js';
import { InvalidError } from './invalid.js';

/** The secret that opens what is private at an address and below it. Holds for as long as the place keeps its owner. */
export class ReadKey {
  /** The address of the object or directory that it opens. */
  readonly address: string;
  readonly #bytes: Bytes;

  /** @internal */
  constructor(address: string, bytes: Bytes) {
    this.address = address;
    this.#bytes = bytes;
  }

  /** The key of an address at or below this one's; an {@link InvalidError} where it lies elsewhere. */
  async below(address: string): Promise<ReadKey> {
    const bytes = await descend(this.#bytes, this.address, address);
    if (!bytes) throw new InvalidError('malformed', `a read key of ${this.address} opens nothing at ${address}`);
    return new ReadKey(address, bytes);
  }

  /** What a token says of the read key that it carries: it tells nothing of the key. @internal */
  async mark(): Promise<Bytes> {
    return hmac(this.#bytes, '/token');
  }

  /** 32 bytes in base64url, as tokens carry them: a secret. */
  get text(): string {
    return base64url(this.#bytes);
  }
}

/** The read key of `to`, made from that of `from`; null where `to` is neither `from` nor below it. @internal */
export async function descend(key: Bytes, from: string, to: string): Promise<Bytes | null> {
  if (!covers(from, to)) return null;
  let reached = key;
  for (const name of to.slice(from.length).match(/[^/]+\/?/g) ?? []) reached = await hmac(reached, name);
  return reached;
}

// Access keys: their text, their owner, and the tokens that their holder makes (docs/formats.md, "Access keys").
//
// Keys that a person chose are not handled here: stretching them takes Argon2id, which WebCrypto lacks. The node does it where such a key
// comes as a credential, and makes tokens for its holder.

import { type Bytes, base58, concat, equal, unbase58, utf8 } from './bytes.js';
import { hkdf, publicOf, randomBytes, sha256, sign } from './crypto.js';
import { InvalidError } from './invalid.js';
import { didOf } from './owner.js';
import { type AccessToken, type MintOptions, mint } from './token.js';

const PREFIX = 'jsfs_';
const CHOSEN_BYTES_MAX = 1_024;

/** A generated access key: who has it owns what lies below the places that name its {@link owner}. */
export class AccessKey {
  /** The owner that this key is, `did:key:z…`. Public. */
  readonly owner: string;
  readonly #text: string;
  readonly #signingSecret: Bytes;

  private constructor(text: string, owner: string, signingSecret: Bytes) {
    this.#text = text;
    this.owner = owner;
    this.#signingSecret = signingSecret;
  }

  /** A new key, from 256 random bits. Nobody else knows it: keep its {@link text}. */
  static async generate(): Promise<AccessKey> {
    return AccessKey.#of(randomBytes(32));
  }

  /**
   * Reads the text of a generated key, `jsfs_…`.
   *
   * @throws {@link InvalidError} with the reason `not base58`, `length` or `checksum` for a typing error, `chosen` for a key that a person
   * chose: give that one to `Jsfs` as it is, and let the node make tokens with `Jsfs.createToken`.
   */
  static async parse(text: string): Promise<AccessKey> {
    const form = await readKeyText(text);
    if ('seed' in form) return AccessKey.#of(form.seed);
    const reason = 'error' in form ? form.error : 'chosen';
    throw new InvalidError(reason, MESSAGES[reason]);
  }

  static async #of(seed: Bytes): Promise<AccessKey> {
    const { signingSecret, ownerKey } = await derive(seed);
    return new AccessKey(await keyText(seed), didOf(ownerKey), signingSecret);
  }

  /** The text of the key: a secret. */
  get text(): string {
    return this.#text;
  }

  /**
   * Makes a token without asking any node. It counts wherever this key owns {@link MintOptions.subject}.
   *
   * @throws {@link InvalidError} where the options describe no token.
   */
  mint(options: MintOptions): Promise<AccessToken> {
    return mint(this.owner, (message) => sign(this.#signingSecret, message), options);
  }
}

/** What an access key's text is: that of a generated key, one that a person chose, or neither. @internal */
export type KeyForm = { seed: Bytes } | { chosen: string } | { error: KeyMistake };

type KeyMistake = 'empty' | 'too long' | 'not base58' | 'length' | 'checksum';

const MESSAGES: Record<KeyMistake | 'chosen', string> = {
  empty: 'the access key is empty',
  'too long': `an access key has at most ${CHOSEN_BYTES_MAX} bytes`,
  'not base58': 'the access key has a character that generated keys do not (no 0, O, I or l); copy it again in full',
  length: 'the access key is too short or too long; copy it again in full',
  checksum: "the access key's checksum does not match: a character is wrong; copy it again",
  chosen: 'the access key was chosen by a person; only the node can stretch it, so let it make the token (Jsfs.createToken)',
};

/** @internal */
export async function readKeyText(text: string): Promise<KeyForm> {
  if (!text.startsWith(PREFIX)) {
    const { length } = utf8(text);
    if (length === 0) return { error: 'empty' };
    return length > CHOSEN_BYTES_MAX ? { error: 'too long' } : { chosen: text };
  }
  const bytes = unbase58(text.slice(PREFIX.length));
  if (!bytes) return { error: 'not base58' };
  if (bytes.length !== 36) return { error: 'length' };
  const seed = bytes.slice(0, 32);
  return equal(await checksum(seed), bytes.subarray(32)) ? { seed } : { error: 'checksum' };
}

/** @internal */
export async function keyText(seed: Bytes): Promise<string> {
  return PREFIX + base58(concat(seed, await checksum(seed)));
}

async function checksum(seed: Bytes): Promise<Bytes> {
  return (await sha256('jsfs/v1/access-key', seed)).slice(0, 4);
}

/** What follows from a seed, as far as tokens need it. @internal */
export async function derive(seed: Bytes): Promise<{ signingSecret: Bytes; ownerKey: Bytes }> {
  const signingSecret = await hkdf(seed, 'jsfs/v1/sign');
  return { signingSecret, ownerKey: await publicOf(signingSecret) };
}

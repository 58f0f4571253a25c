// The error of texts that are not what they are used as.

/**
 * A text that is no address, no access key or no access token, or a token that does not count. Nothing was sent.
 *
 * `message` never holds any part of a key or of a token's signature and secrets.
 */
export class InvalidError extends Error {
  override readonly name = 'InvalidError';

  /**
   * What is wrong, in a word or two that do not change between versions. Of keys: `empty`, `too long`, `not base58`, `length`,
   * `checksum`, `chosen`. Of tokens: `malformed`, `signature`, `expired`, `not yet valid`. Of addresses: `not absolute`, `no namespace`,
   * `host`, `control`, `reserved`, `too long`, `not normal`.
   */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

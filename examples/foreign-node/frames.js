// Frames over a stream: a length as an unsigned varint of at most four bytes, then the message (docs/protocols/README.md).

const MESSAGE_MS = 10_000;

export class Frames {
  #held = Buffer.alloc(0);

  constructor(stream) {
    this.stream = stream;
    this.pieces = stream[Symbol.asyncIterator]();
  }

  async #more(within) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('nothing came in time')), within);
    });
    try {
      const { done, value } = await Promise.race([this.pieces.next(), late]);
      if (done) return false;
      this.#held = Buffer.concat([this.#held, value.subarray()]);
      return true;
    } finally {
      clearTimeout(timer);
    }
  }

  // The next message; null where the other side has ended the stream between messages.
  async next(limit, within = MESSAGE_MS) {
    for (;;) {
      let length = 0;
      for (let at = 0; at < Math.min(4, this.#held.length); at += 1) {
        length |= (this.#held[at] & 0x7f) << (7 * at);
        if (this.#held[at] & 0x80) continue;
        if (at > 0 && this.#held[at] === 0) throw new Error('a length that is not in its shortest form');
        if (length > limit) throw new Error('a message that is too long');
        while (this.#held.length < at + 1 + length) {
          if (!(await this.#more(MESSAGE_MS))) throw new Error('cut short');
        }
        const message = this.#held.subarray(at + 1, at + 1 + length);
        this.#held = this.#held.subarray(at + 1 + length);
        return message;
      }
      if (this.#held.length >= 4) throw new Error('a length that is too long');
      if (!(await this.#more(within))) {
        if (this.#held.length > 0) throw new Error('cut short');
        return null;
      }
    }
  }

  async send(...parts) {
    let length = parts.reduce((sum, part) => sum + part.length, 0);
    const head = [];
    for (; length >= 0x80; length >>>= 7) head.push((length & 0x7f) | 0x80);
    head.push(length);
    if (!this.stream.send(Buffer.concat([Buffer.from(head), ...parts]))) await this.stream.onDrain({ signal: AbortSignal.timeout(MESSAGE_MS) });
  }
}

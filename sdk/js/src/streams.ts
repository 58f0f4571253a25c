// Bodies over a socket, with credit in both directions (docs/live.md, "Bodies").
//
// Invariants: of a body that comes, what was granted and not yet taken is at most CREDIT_AT_FIRST bytes, whoever reads it or does not; of a
// body that goes, nothing is sent beyond what was granted.

import { text } from './bytes.js';
import { JsfsError, readProblem } from './error.js';
import { CREDIT, CREDIT_AT_FIRST, DATA, END, ERROR, type Frame, PIECE_BYTES_MAX, encodeCredit, encodeFrame, readCredit } from './frames.js';

/** Sends a message. */
type Send = (message: Uint8Array<ArrayBuffer>) => void;

/** One end of a body. @internal */
export interface BodyStream {
  /** Takes a message for it. */
  take(frame: Frame): void;
  /** The connection is gone. */
  fail(reason: unknown): void;
}

/** A body that comes. @internal */
export class IncomingBody implements BodyStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #stream: number;
  readonly #send: Send;
  readonly #onOver: () => void;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  /** Bytes that the sender may still send. */
  #granted = CREDIT_AT_FIRST;
  #isOver = false;

  /** `onOver` is called once, when no message for this body means anything any more. */
  constructor(stream: number, send: Send, onOver: () => void) {
    this.#stream = stream;
    this.#send = send;
    this.#onOver = onOver;
    this.readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => void (this.#controller = controller),
        pull: () => this.#grant(),
        cancel: () => this.#refuse(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: CREDIT_AT_FIRST }),
    );
  }

  take(frame: Frame): void {
    if (this.#isOver) return;
    if (frame.kind === ERROR) return this.fail(errorOf(frame));
    if (frame.kind !== DATA && frame.kind !== END) return;
    this.#granted -= frame.payload.length;
    if (frame.payload.length > 0) this.#controller.enqueue(frame.payload);
    if (frame.kind === DATA) return;
    this.#controller.close();
    this.#over();
  }

  fail(reason: unknown): void {
    if (this.#isOver) return;
    this.#controller.error(reason);
    this.#over();
  }

  /** Wants no more, and tells the sender. */
  giveUp(reason: unknown): void {
    if (!this.#isOver) this.#controller.error(reason);
    this.#refuse();
  }

  // What was taken makes room for as much again.
  #grant(): void {
    const room = (this.#controller.desiredSize ?? 0) - this.#granted;
    if (this.#isOver || room < PIECE_BYTES_MAX) return;
    this.#granted += room;
    this.#send(encodeCredit(this.#stream, room));
  }

  #refuse(): void {
    if (this.#isOver) return;
    this.#send(encodeFrame(this.#stream, ERROR));
    this.#over();
  }

  #over(): void {
    this.#isOver = true;
    this.#onOver();
  }
}

/** A body that goes. @internal */
export class OutgoingBody implements BodyStream {
  readonly #stream: number;
  readonly #send: Send;
  readonly #onSent: (bytes: number) => void;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #credit = CREDIT_AT_FIRST;
  #sent = 0;
  #isStopped = false;
  #wake: () => void = () => undefined;

  /** `onSent` is called with the number of bytes that have gone out so far. */
  constructor(stream: number, send: Send, onSent: (bytes: number) => void = () => undefined) {
    this.#stream = stream;
    this.#send = send;
    this.#onSent = onSent;
  }

  /**
   * Sends a body to its end, as fast as credit comes. Resolves early where the receiver has heard enough. Where the body itself fails the
   * receiver is told, and this rejects with its error.
   */
  async send(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = (this.#reader = body.getReader());
    try {
      for (let next = await reader.read(); !next.done && !this.#isStopped; next = await reader.read()) await this.#sendBytes(next.value);
    } catch (error) {
      this.giveUp();
      throw error;
    }
    if (!this.#isStopped) this.#send(encodeFrame(this.#stream, END));
    this.stop();
  }

  /** Tells the receiver that the rest will not come; what came is not stored. */
  giveUp(): void {
    if (!this.#isStopped) this.#send(encodeFrame(this.#stream, ERROR));
    this.stop();
  }

  /** Sends no more, and tells nobody but the body. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
    this.#reader?.cancel().catch(() => undefined);
  }

  take(frame: Frame): void {
    if (frame.kind === ERROR) this.stop();
    if (frame.kind === CREDIT) this.#credit += readCredit(frame);
    this.#wake();
  }

  fail(): void {
    this.stop();
  }

  async #sendBytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      while (this.#credit === 0 && !this.#isStopped) await new Promise<void>((resolve) => (this.#wake = resolve));
      if (this.#isStopped) return;
      const length = Math.min(bytes.length - at, this.#credit, PIECE_BYTES_MAX);
      this.#send(encodeFrame(this.#stream, DATA, bytes.subarray(at, at + length)));
      this.#credit -= length;
      at += length;
      this.#onSent((this.#sent += length));
    }
  }
}

function errorOf({ payload }: Frame): JsfsError {
  try {
    return new JsfsError(readProblem(JSON.parse(text(payload)), 500));
  } catch {
    return new JsfsError(readProblem(null, 500));
  }
}

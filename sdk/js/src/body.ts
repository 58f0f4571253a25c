// Bodies on their way out, and telling how far they have got.
//
// Texts are sent as bytes and never as strings: `fetch` would add a media type to a string, and that would become the object's.

import { utf8 } from './bytes.js';

/**
 * What can be stored. A stream is sent as it comes where `fetch` can do that (Node.js); a browser collects it first, so there a `Blob` is
 * the better choice for much data.
 */
export type Body = string | ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob | ReadableStream<Uint8Array<ArrayBuffer>>;

/** How much of a body is on its way. */
export interface Progress {
  /** Bytes handed to the network, or, with `upload`, stored by the node. */
  sent: number;
  /** Bytes in all; undefined for a stream. */
  total: number | undefined;
}

/** A body as `fetch` takes it, and its length where that is known. @internal */
export interface Sendable {
  data: Exclude<Body, string>;
  length: number | undefined;
}

/** @internal */
export function sendable(body: Body): Sendable {
  const data = typeof body === 'string' ? utf8(body) : body;
  if (data instanceof ReadableStream) return { data, length: undefined };
  return { data, length: data instanceof Blob ? data.size : data.byteLength };
}

/** The media type that a body brings along: a `Blob`'s own. @internal */
export function typeOf(body: Body): string | undefined {
  return body instanceof Blob && body.type !== '' ? body.type : undefined;
}

/** The body as a stream that tells how much of it was taken. @internal */
export function counted(
  { data, length }: Sendable,
  onProgress: (progress: Progress) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pieces = data instanceof ReadableStream ? data.values() : piecesOf(new Blob([data]));
  let sent = 0;
  return new ReadableStream(
    {
      async pull(controller) {
        // To be asked for a piece means that those before it are gone.
        if (sent > 0) onProgress({ sent, total: length });
        const { done, value } = await pieces.next();
        if (done) return controller.close();
        controller.enqueue(value);
        sent += value.byteLength;
      },
      async cancel() {
        await pieces.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

const PIECE_BYTES = 65_536;

async function* piecesOf(blob: Blob): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  for (let at = 0; at < blob.size; at += PIECE_BYTES) {
    yield new Uint8Array(await blob.slice(at, at + PIECE_BYTES).arrayBuffer());
  }
}

// Binary messages of a socket: pieces of bodies (docs/live.md, "Bodies").

import { concat } from './bytes.js';

/** What a message does, by the byte that says so. @internal */
export const DATA = 0;
/** The last message of a body; may carry bytes. @internal */
export const END = 1;
/** The body is given up, by its sender or its receiver; may carry a problem as JSON. @internal */
export const ERROR = 2;
/** The receiver has room for more: a number of bytes. @internal */
export const CREDIT = 3;

/** Bytes of a body that a sender may send without being asked. @internal */
export const CREDIT_AT_FIRST = 262_144;
/** Most bytes of a body in one message. @internal */
export const PIECE_BYTES_MAX = 65_536;

const HEAD_BYTES = 5;

/** @internal */
export interface Frame {
  /** Odd where the client sends the body, even where the node does. */
  stream: number;
  kind: number;
  payload: Uint8Array<ArrayBuffer>;
}

/** @internal */
export function encodeFrame(stream: number, kind: number, payload: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const head = new DataView(new ArrayBuffer(HEAD_BYTES));
  head.setUint32(0, stream, true);
  head.setUint8(4, kind);
  return concat(new Uint8Array(head.buffer), payload);
}

/** Null where the message is too short to be one. @internal */
export function decodeFrame(message: ArrayBuffer): Frame | null {
  if (message.byteLength < HEAD_BYTES) return null;
  const view = new DataView(message);
  return { stream: view.getUint32(0, true), kind: view.getUint8(4), payload: new Uint8Array(message, HEAD_BYTES) };
}

/** @internal */
export function encodeCredit(stream: number, bytes: number): Uint8Array<ArrayBuffer> {
  const amount = new DataView(new ArrayBuffer(4));
  amount.setUint32(0, bytes, true);
  return encodeFrame(stream, CREDIT, new Uint8Array(amount.buffer));
}

/** The bytes that a credit grants. @internal */
export function readCredit({ payload }: Frame): number {
  return payload.length < 4 ? 0 : new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
}

// The part of the WebSocket interface that is needed here, so that any implementation of it will do.

/** The constructor of a WebSocket: a browser's, Node's from version 22, or that of the package `ws`. */
export interface WebSocketConstructor {
  new (url: string, protocols: string[]): WebSocketLike;
}

/** What is used of a WebSocket. */
export interface WebSocketLike {
  binaryType: string;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: 'open', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void;
  addEventListener(type: 'error', listener: () => void): void;
}

/** The constructor that is there, or an error that says where to get one. @internal */
export function webSocketOr(given: WebSocketConstructor | undefined): WebSocketConstructor {
  const found = given ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
  if (found) return found;
  throw new TypeError("there is no WebSocket here: use Node.js 22 or later, or pass one: import WebSocket from 'ws'; new Jsfs({ WebSocket })");
}

// The WebSocket that tests use: that of the package `ws`, counted and measured on the way.

import WebSocket from 'ws';

/** Makes a constructor that keeps count of its sockets and of what they bring. */
export function counted(): typeof WebSocket & { readonly opened: number; readonly binaryBytes: number; dropAll(): void } {
  const sockets = new Set<WebSocket>();
  return class Counted extends WebSocket {
    static opened = 0;
    static binaryBytes = 0;

    /** Breaks every connection, as a network does. */
    static dropAll(): void {
      for (const socket of sockets) socket.terminate();
    }

    constructor(url: string | URL, protocols: string[]) {
      super(url, protocols);
      Counted.opened += 1;
      sockets.add(this);
      this.on('message', (data: ArrayBuffer, isBinary) => void (Counted.binaryBytes += isBinary ? data.byteLength : 0));
      this.on('close', () => sockets.delete(this));
    }
  } as ReturnType<typeof counted>;
}

// The WebSocket that tests use: that of the package `ws`, counted and measured on the way.

import WebSocket from 'ws';

/** What has gone over the sockets of a constructor. */
interface Counts {
  /** Sockets that were opened. */
  readonly opened: number;
  /** Messages with calls, answers and events that came. */
  readonly texts: number;
  /** Bytes of bodies, with their heads, that came. */
  readonly bytesIn: number;
  /** The same of those that went out. */
  readonly bytesOut: number;
  /** Breaks every connection, as a network does. */
  dropAll(): void;
}

/** Makes a constructor that counts. */
export function counted(): typeof WebSocket & Counts {
  const sockets = new Set<WebSocket>();
  return class Counted extends WebSocket {
    static opened = 0;
    static texts = 0;
    static bytesIn = 0;
    static bytesOut = 0;

    static dropAll(): void {
      for (const socket of sockets) socket.terminate();
    }

    constructor(url: string | URL, protocols: string[]) {
      super(url, protocols);
      Counted.opened += 1;
      sockets.add(this);
      this.on('message', (data: ArrayBuffer, isBinary) => {
        if (isBinary) Counted.bytesIn += data.byteLength;
        else Counted.texts += 1;
      });
      this.on('close', () => sockets.delete(this));
    }

    override send(data: string | Uint8Array): void {
      if (typeof data !== 'string') Counted.bytesOut += data.length;
      super.send(data);
    }
  } as ReturnType<typeof counted>;
}

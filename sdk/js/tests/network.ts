// A network that breaks: a relay to a node which cuts connections.

import { type Server, type Socket, connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

/** Relays to a node, and cuts each connection after so many bytes from the client. */
export class Network {
  /** The bytes that a connection lives for. */
  patience: number;
  /** How many connections were cut. */
  cuts = 0;
  readonly #server: Server;

  private constructor(url: string, patience: number) {
    this.patience = patience;
    const { hostname, port } = new URL(url);
    this.#server = createServer((client) => this.#relay(client, connect(Number(port), hostname)));
  }

  static async to(url: string, patience: number): Promise<Network> {
    const network = new Network(url, patience);
    await new Promise<void>((resolve) => network.#server.listen(0, '127.0.0.1', resolve));
    return network;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
  }

  #relay(client: Socket, node: Socket): void {
    let left = this.patience;
    client.on('data', (chunk) => {
      left -= chunk.length;
      node.write(chunk);
      if (left > 0) return;
      this.cuts += 1;
      client.destroy();
      node.destroySoon();
    });
    node.pipe(client);
    client.on('end', () => node.end());
    for (const socket of [client, node]) socket.on('error', () => (client.destroy(), node.destroy()));
  }
}

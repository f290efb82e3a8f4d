// The network between a worker and the services: it can be cut, so that nothing arrives and nobody is told,
// and mended, so that all arrives late.

import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class Network {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** `next`: to which port the next connection goes. */
  static async open(next: () => number): Promise<Network> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const network = new Network(server);
    server.on('connection', (from) => {
      const to = connect(next(), '127.0.0.1');
      network.#join(from, to);
      network.#join(to, from);
    });
    return network;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  mend(): void {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.resume();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  // By hand, for a pipe goes on by itself when there is room again.
  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (bytes) => to.write(bytes));
    from.once('end', () => to.end());
    from.once('error', () => to.destroy());
    from.once('close', () => {
      this.#sockets.delete(from);
      to.destroySoon();
    });
    if (this.#isCut) from.pause();
  }
}

// SPDX-License-Identifier: MIT
/** A link between a guest and its server that a test can break: a TCP proxy. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

interface Pair {
  readonly inner: Socket;
  readonly outer: Socket;
}

export class FaultyLink {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #isStalled = false;
  #altered = 0;
  #alter = false;
  /** Bytes that came from the guest. */
  bytes = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Forwards each connection to a port of the loopback that may come and go. */
  static async listen(target: () => number): Promise<FaultyLink> {
    const server = createServer((outer) => {
      const pair = { outer, inner: connect(target(), '127.0.0.1') };
      link.#pairs.add(pair);
      const end = () => {
        link.#pairs.delete(pair);
        pair.inner.destroy();
        pair.outer.destroy();
      };
      for (const socket of [pair.inner, pair.outer]) socket.on('error', end).on('close', end);
      outer.on('data', (chunk: Buffer) => {
        link.bytes += chunk.length;
        link.#forward(chunk, outer, pair.inner);
      });
      pair.inner.on('data', (chunk: Buffer) => link.#forward(chunk, pair.inner, outer));
      outer.on('end', () => pair.inner.end());
      pair.inner.on('end', () => outer.end());
      if (link.#isStalled) link.#pause(pair);
    });
    const link = new FaultyLink(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return link;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Bytes that were altered so far. */
  get altered(): number {
    return this.#altered;
  }

  #forward(chunk: Buffer, from: Socket, to: Socket): void {
    const bytes = this.#alter ? Buffer.from(chunk) : chunk;
    if (this.#alter) {
      this.#alter = false;
      this.#altered++;
      const middle = chunk.length >> 1;
      bytes[middle] = (bytes[middle] ?? 0) ^ 0x40;
    }
    if (to.write(bytes)) return;
    from.pause();
    to.once('drain', () => {
      if (!this.#isStalled) from.resume();
    });
  }

  #pause({ inner, outer }: Pair): void {
    inner.pause();
    outer.pause();
  }

  /** Resets what is connected. */
  cut(): void {
    for (const { inner, outer } of this.#pairs) {
      inner.resetAndDestroy();
      outer.resetAndDestroy();
    }
  }

  /** Lets nothing through, and breaks nothing. */
  stall(isStalled: boolean): void {
    this.#isStalled = isStalled;
    for (const pair of this.#pairs) {
      if (isStalled) {
        this.#pause(pair);
      } else {
        pair.inner.resume();
        pair.outer.resume();
      }
    }
  }

  /** Alters a byte of what comes next, in whatever direction. */
  alter(): void {
    this.#alter = true;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

// SPDX-License-Identifier: MIT
/** A link between a guest and its server that a test can break: a TCP proxy. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Messages, type Side } from '../support/messages.js';
import type { Tap } from '../support/sim-driver.js';

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
  /** When the guest connected, each time. */
  readonly connectedMs: number[] = [];
  /** That the guest has no more to say, the server hears so much later. */
  lateEndMs = 0;
  /** So many times the guest does not hear what the server says to its end. */
  lostEnds = 0;
  readonly #taps: Partial<Record<Side, Tap>> = {};

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Forwards each connection to a port of the loopback that may come and go.
   *
   * @param isNoise it tells the messages of mode NOISE apart, and forwards whole ones
   */
  static async listen(target: () => number, isNoise = false): Promise<FaultyLink> {
    const server = createServer({ allowHalfOpen: true }, (outer) => {
      const inner = connect({ port: target(), host: '127.0.0.1', allowHalfOpen: true });
      const pair = { outer, inner };
      link.connectedMs.push(performance.now());
      link.#pairs.add(pair);
      const end = () => {
        link.#pairs.delete(pair);
        pair.inner.destroy();
        pair.outer.destroy();
      };
      let isEndLost = false;
      for (const socket of [pair.inner, pair.outer]) socket.on('error', end);
      pair.outer.on('close', end);
      pair.inner.on('close', () => {
        if (!isEndLost) end();
      });
      const toServer = isNoise ? link.#middle('guest') : undefined;
      const toGuest = isNoise ? link.#middle('server') : undefined;
      outer.on('data', (chunk: Buffer) => {
        link.bytes += chunk.length;
        link.#forward(toServer?.(chunk) ?? chunk, outer, pair.inner);
      });
      pair.inner.on('data', (chunk: Buffer) => {
        if (!isEndLost) link.#forward(toGuest?.(chunk) ?? chunk, pair.inner, outer);
      });
      outer.on('end', () => {
        isEndLost = link.lostEnds > 0;
        if (isEndLost) link.lostEnds--;
        setTimeout(() => pair.inner.end(), link.lateEndMs);
      });
      pair.inner.on('end', () => {
        if (!isEndLost) outer.end();
      });
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

  /** The man in the middle of one direction of a new connection. */
  #middle(side: Side): (chunk: Buffer) => Buffer {
    const found = new Messages(side);
    return (chunk) => {
      const { opening, messages } = found.push(chunk);
      const tap = messages.length > 0 ? this.#taps[side] : undefined;
      return Buffer.concat([opening, ...(tap?.(messages) ?? messages)]);
    };
  }

  /** Changes what one side sends from now on; of a link that tells messages apart. */
  tap(side: Side, tap: Tap): void {
    this.#taps[side] = tap;
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

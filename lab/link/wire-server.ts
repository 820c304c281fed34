// SPDX-License-Identifier: MIT
/**
 * The receiver's port. Strangers cannot crowd out those who have a key: an opening gets little time and little memory;
 * when there are too many openings, the oldest of the same address ends first, then the oldest of all. One that is
 * honest takes milliseconds, and is not the oldest.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { WIRE_SILENCE_MS } from '../abi/wire.js';
import { ioError, messageOf, systemCodeOf } from '../util/errors.js';
import { type BootKeeper, Boots, bootName } from './boots.js';
import { type Inlet, inletOf } from './inlet.js';
import { STATUS, statusName } from './wire.js';
import { type Machine, type Opened, openWire } from './wire-opening.js';
import { WireSession } from './wire-session.js';

export interface WireLimits {
  /** Connections that have shown a key. */
  readonly sessions: number;
  /** Openings under way. */
  readonly openings: number;
  readonly openingsOfAddress: number;
  readonly openingMs: number;
  /** A boot that nobody is connected for is sealed after so long. */
  readonly idleMs: number;
  /** A machine that sends nothing for so long is gone. */
  readonly silenceMs: number;
}

export const WIRE_LIMITS: WireLimits = {
  sessions: 512,
  openings: 256,
  openingsOfAddress: 128,
  openingMs: 5000,
  idleMs: 60_000,
  silenceMs: WIRE_SILENCE_MS,
};

/** One line of the log. */
export interface WireEvent {
  readonly event: 'connected' | 'refused' | 'closed' | 'disk full' | 'disk has space';
  readonly [detail: string]: string | number | bigint | undefined;
}

export interface WireServerOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly serverId: bigint;
  readonly findMachine: (name: string) => Promise<Machine | undefined>;
  readonly keeper: BootKeeper;
  /** Path of the program that takes what a connection sends. */
  readonly intake: string;
  readonly onEvent: (event: WireEvent) => void;
  readonly limits?: Partial<WireLimits>;
}

const TICK_MS = 250;

interface Opening {
  readonly socket: Socket;
  readonly address: string;
}

export class WireServer {
  readonly boots: Boots;
  readonly sessions = new Set<WireSession>();
  /** Refusals since the start, by name of the status. */
  readonly refusals = new Map<string, number>();
  readonly #options: WireServerOptions;
  readonly #limits: WireLimits;
  readonly #server: Server;
  /** In the order in which they came. */
  readonly #openings = new Set<Opening>();
  readonly #connections = new Set<Promise<void>>();
  #ticker: NodeJS.Timeout | undefined;
  #isClosing = false;

  private constructor(options: WireServerOptions) {
    this.#options = options;
    this.#limits = { ...WIRE_LIMITS, ...options.limits };
    this.boots = new Boots(options.keeper, this.#limits.idleMs);
    this.#server = createServer({ noDelay: true, keepAlive: true, pauseOnConnect: true }, (socket) =>
      this.#accept(inletOf(socket)),
    );
  }

  static async listen(options: WireServerOptions): Promise<WireServer> {
    const server = new WireServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', (error) => {
        reject(ioError(`listening on ${options.host}:${options.port} (${systemCodeOf(error) ?? 'failed'})`, error));
      });
      server.#server.listen(options.port, options.host, resolve);
    });
    // Such as EMFILE while accepting: the connection is lost, the server is not.
    server.#server.on('error', (error) => options.onEvent({ event: 'refused', why: messageOf(error) }));
    server.#ticker = setInterval(() => {
      for (const session of server.sessions) session.tick();
    }, TICK_MS);
    return server;
  }

  /** The port it listens on. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get openings(): number {
    return this.#openings.size;
  }

  /** Ends all connections, and seals and closes all boots. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#server.close();
    for (const { socket } of this.#openings) socket.destroy();
    for (const session of this.sessions) session.stop('the server stops');
    await Promise.all(this.#connections);
    clearInterval(this.#ticker);
    await this.boots.close();
  }

  #accept(inlet: Inlet): void {
    const { socket } = inlet;
    // Whoever reads it learns of it; here it must only not be thrown.
    socket.on('error', () => {});
    if (this.#isClosing) {
      socket.destroy();
      return;
    }
    const connection = this.#serve(inlet)
      .catch((error: unknown) => this.#options.onEvent({ event: 'closed', why: messageOf(error) }))
      .finally(() => {
        socket.destroySoon();
        this.#connections.delete(connection);
      });
    this.#connections.add(connection);
  }

  async #serve(inlet: Inlet): Promise<void> {
    const { socket, chunks } = inlet;
    const { serverId, findMachine } = this.#options;
    const address = socket.remoteAddress ?? '';
    const opening = { socket, address };
    this.#openings.add(opening);
    this.#crowdOut(address);
    const timer = setTimeout(() => socket.destroy(), this.#limits.openingMs);
    const isBusy = this.sessions.size >= this.#limits.sessions;
    const opened = await openWire({ socket, chunks, serverId, isBusy, findMachine }).finally(() => {
      clearTimeout(timer);
      this.#openings.delete(opening);
    });
    if (opened === undefined) this.#refused({ address, status: STATUS.BAD_FRAME, why: 'left before it showed a key' });
    else if ('status' in opened) this.#refused({ address, ...opened });
    else if (!socket.destroyed) await this.#session(inlet, address, opened);
  }

  async #session(inlet: Inlet, address: string, opened: Opened): Promise<void> {
    const { onEvent, intake } = this.#options;
    const { socket } = inlet;
    const { rest: first, ...open } = opened;
    const { id, cpus, mode } = open;
    const boot = bootName(id);
    const who = { machine: id.machine, boot, address };
    const session = new WireSession({
      ...{ ...open, socket, first, address, boots: this.boots, program: intake },
      silenceMs: this.#limits.silenceMs,
      onReady: () => onEvent({ event: 'connected', ...who, mode, cpus }),
      onRefused: (end) => this.#refused({ ...who, ...end }),
      onDisk: (isFull) => onEvent({ event: isFull ? 'disk full' : 'disk has space', ...who }),
    });
    this.sessions.add(session);
    const { why } = await session.run().finally(() => this.sessions.delete(session));
    const { bytes, subbufs } = session;
    onEvent({ event: 'closed', ...who, why, bytes, subbufs });
  }

  /** Too many openings: the oldest goes, of this address if it has too many, else of all. */
  #crowdOut(address: string): void {
    const own = [...this.#openings].filter((opening) => opening.address === address);
    const oldest =
      own.length > this.#limits.openingsOfAddress
        ? own[0]
        : this.#openings.size > this.#limits.openings
          ? [...this.#openings][0]
          : undefined;
    if (oldest === undefined) return;
    this.#openings.delete(oldest);
    oldest.socket.destroy();
  }

  #refused(refused: {
    readonly status: number;
    readonly why: string;
    readonly [detail: string]: string | number;
  }): void {
    const name = statusName(refused.status);
    this.refusals.set(name, (this.refusals.get(name) ?? 0) + 1);
    this.#options.onEvent({ event: 'refused', ...refused, status: name });
  }
}

// SPDX-License-Identifier: MIT
/**
 * A driver as `docs/wire.md` describes it, without a kernel: it keeps each sub-buffer until the server has
 * acknowledged it, and sends again, from what READY says on, after a connection broke.
 */
import { type SenderOptions, WireRefused, WireSender } from '../../lab/link/sender.js';
import { FRAME, packEnds, packWire, type Streams } from '../../lab/link/wire.js';

/** The server is on this host. */
export type SimOptions = Omit<SenderOptions, 'host' | 'signal'>;

/** What goes over the wire for some frames: one message, or one frame in mode PLAIN, each. */
export type Tap = (messages: readonly Buffer[]) => readonly Buffer[];

export class SimConnection extends WireSender {
  /** Changes what is sent. */
  tap: Tap = (messages) => messages;

  static override open(options: SimOptions): Promise<SimConnection> {
    return WireSender.begin(new SimConnection({ ...options, host: '127.0.0.1' }));
  }

  protected override put(messages: readonly Buffer[]): boolean {
    return super.put(this.tap(messages));
  }
}

/** Streams of one boot, and what of them is not acknowledged yet. */
export class SimDriver {
  readonly options: SimOptions;
  /** Connections that were opened. */
  connects = 0;
  readonly refusals: string[] = [];
  /** By CPU, ascending by number. */
  readonly #kept = new Map<number, { readonly number: bigint; readonly bytes: Buffer }[]>();
  #progress = 0;
  #isStopped = false;

  constructor(options: SimOptions) {
    this.options = options;
  }

  put(cpu: number, number: bigint, bytes: Buffer): void {
    const kept = this.#kept.get(cpu);
    if (kept) kept.push({ number, bytes });
    else this.#kept.set(cpu, [{ number, bytes }]);
  }

  /** Sub-buffers that nobody has acknowledged. */
  get waiting(): number {
    let sum = 0;
    for (const kept of this.#kept.values()) sum += kept.length;
    return sum;
  }

  /** Sub-buffers that were acknowledged. */
  get progress(): number {
    return this.#progress;
  }

  #free(streams: Streams): void {
    for (const [cpu, next] of streams) {
      const kept = this.#kept.get(cpu) ?? [];
      let done = 0;
      while (kept[done] !== undefined && (kept[done]?.number ?? next) < next) done++;
      kept.splice(0, done);
      this.#progress += done;
    }
  }

  /** One connection: sends all that is kept, by turns of the CPUs; `use` may break it. Settles when it is over. */
  async connection(use: (connection: SimConnection) => void = () => {}): Promise<void> {
    const connection = await SimConnection.open(this.options);
    this.connects++;
    const acked = new Promise<undefined>((resolve) => {
      connection.onAck = (streams) => {
        this.#free(streams);
        if (this.waiting === 0) resolve(undefined);
      };
      connection.onAck(connection.ready);
    });
    use(connection);
    const all = [...this.#kept].flatMap(([cpu, kept]) => kept.map((item, turn) => ({ cpu, turn, ...item })));
    all.sort((a, b) => a.turn - b.turn || a.cpu - b.cpu);
    for (const { bytes } of all) {
      if (connection.socket.destroyed) break;
      await connection.send(FRAME.SUBBUF, bytes);
    }
    const beat = setInterval(() => {
      const status = { queued: this.waiting, connects: BigInt(this.connects) };
      void connection.send(FRAME.HEARTBEAT, packWire('lemona_wire_status', status));
    }, 500);
    const why = await Promise.race([connection.closed, acked]);
    clearInterval(beat);
    if (why !== undefined) this.refusals.push(why);
    connection.socket.destroy();
  }

  /** Connects again and again until all is acknowledged. */
  async deliver(use?: (connection: SimConnection) => void, retryMs = 20): Promise<void> {
    while (this.waiting > 0 && !this.#isStopped) {
      await this.connection(use).catch((error: unknown) => {
        if (error instanceof WireRefused) this.refusals.push(error.status);
      });
      if (this.waiting > 0) await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  /** No further connection is tried. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Says that nothing more will come, and waits until the server has left; true: it has sealed the record. */
  async end(): Promise<boolean> {
    const connection = await SimConnection.open(this.options);
    const ends = [...connection.ready].map(([cpu, next]) => [cpu, { next, all: next }] as const);
    await connection.send(FRAME.END, packEnds(ends));
    connection.socket.end();
    await connection.closed;
    return connection.isClosed;
  }
}

// SPDX-License-Identifier: MIT
/**
 * A driver as `docs/wire.md` describes it, without a kernel: it keeps each sub-buffer until the server has
 * acknowledged it, and sends again, from what READY says on, after a connection broke.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ABI_HASH } from '../../lab/abi/layout.js';
import { WIRE_KEY_BYTES, WIRE_MAGIC, WIRE_VERSION } from '../../lab/abi/wire.js';
import { NoiseHandshake } from '../../lab/link/noise.js';
import {
  FRAME,
  frame,
  MODE,
  packStreams,
  packWire,
  plainProof,
  STATUS,
  type Streams,
  statusName,
  unpackStreams,
  unpackWire,
  WIRE_SIZE,
} from '../../lab/link/wire.js';
import { type Channel, noiseChannel, plainChannel } from '../../lab/link/wire-channel.js';
import { type ReadFrame, WireReader } from './wire-reader.js';

export interface SimOptions {
  readonly port: number;
  readonly machine: string;
  readonly key: Buffer;
  readonly mode: number;
  readonly bootId: bigint;
  readonly cpus: number;
  /** Number of the category that it says it has. */
  readonly category?: number;
}

/** The server's answer was another than OK. */
export class SimRefused extends Error {
  readonly status: string;

  constructor(status: number) {
    super(`refused: ${statusName(status)}`);
    this.status = statusName(status);
  }
}

/** What goes over the wire for some frames: one message, or one frame in mode PLAIN, each. */
export type Tap = (messages: readonly Buffer[]) => readonly Buffer[];

export class SimConnection {
  readonly socket: Socket;
  /** Settles when the connection is over: with what REFUSED said, if it came. */
  readonly closed: Promise<string | undefined>;
  /** What the server said of its disk last. */
  serverStatus: number = STATUS.OK;
  ready: Streams = new Map();
  onAck: (streams: Streams) => void = () => {};
  /** Changes what is sent. */
  tap: Tap = (messages) => messages;
  #channel: Channel = plainChannel;
  #refused: number | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve(this.#refused === undefined ? undefined : statusName(this.#refused)));
    });
  }

  /** Opens; rejects with SimRefused, or because the server left. */
  static async open(options: SimOptions): Promise<SimConnection> {
    const socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true });
    socket.on('error', () => {});
    const connection = new SimConnection(socket);
    try {
      await once(socket, 'connect');
      await connection.#open(options);
      return connection;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  async #open(options: SimOptions): Promise<void> {
    const chunks = this.socket.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
    let rest: Buffer = Buffer.alloc(0);
    const more = async () => {
      const next = await chunks.next();
      if (next.done === true) throw new Error('the server left during the opening');
      rest = Buffer.concat([rest, next.value]);
    };
    const take = async (bytes: number) => {
      // Shorter than what is due: a REFUSED that is not sealed.
      while (rest.length < bytes) {
        await more().catch((error: unknown) => {
          throw rest.length === 16 ? new SimRefused(rest.readUInt32LE(8)) : error;
        });
      }
      const taken = rest.subarray(0, bytes);
      rest = rest.subarray(bytes);
      return taken;
    };
    const hello = packWire('lemona_wire_hello', {
      magic: WIRE_MAGIC,
      version: WIRE_VERSION,
      mode: options.mode,
      abi_hash: ABI_HASH,
      boot_id: options.bootId,
      cpus: options.cpus,
      category: options.category ?? 0,
      machine: options.machine,
    });
    this.socket.write(hello);
    const challenge = await take(WIRE_SIZE.lemona_wire_challenge);
    const { status } = unpackWire('lemona_wire_challenge', challenge);
    if (status !== STATUS.OK) throw new SimRefused(status);
    let proof: Buffer = Buffer.alloc(WIRE_KEY_BYTES);
    let reader = new WireReader(undefined);
    if (options.mode === MODE.NOISE) {
      const prologue = Buffer.concat([hello, challenge]);
      const handshake = new NoiseHandshake({ role: 'initiator', psk: options.key, prologue });
      this.socket.write(handshake.write(Buffer.alloc(0)) ?? '');
      if (handshake.read(await take(48)) === undefined) throw new Error('the server has not the key');
      const { send, receive } = handshake.split();
      this.#channel = noiseChannel(send);
      reader = new WireReader(receive);
    } else {
      this.socket.write(plainProof('driver', options.key, hello, challenge));
      proof = plainProof('server', options.key, hello, challenge);
    }
    const frames = this.#frames(reader, chunks, rest);
    const first = await frames.next();
    if (first.done === true) throw new Error('the server left before READY');
    if (first.value.type === FRAME.REFUSED) throw new SimRefused(first.value.body.readUInt32LE());
    if (first.value.type !== FRAME.READY) throw new Error(`a frame of type ${first.value.type} instead of READY`);
    if (!first.value.body.subarray(0, WIRE_KEY_BYTES).equals(proof)) throw new Error('the server has not the key');
    this.ready = unpackStreams(first.value.body.subarray(WIRE_KEY_BYTES)) ?? new Map();
    void this.#listen(frames).catch(() => this.socket.destroy());
  }

  async *#frames(reader: WireReader, chunks: AsyncIterator<Buffer>, first: Buffer): AsyncGenerator<ReadFrame> {
    let chunk = first;
    for (;;) {
      yield* reader.push(chunk);
      const next = await chunks.next();
      if (next.done === true) return;
      chunk = next.value;
    }
  }

  async #listen(frames: AsyncIterator<{ type: number; body: Buffer }>): Promise<void> {
    for (;;) {
      const next = await frames.next();
      if (next.done === true) break;
      const { type, body } = next.value;
      if (type === FRAME.ACK) this.onAck(unpackStreams(body) ?? new Map());
      else if (type === FRAME.HEARTBEAT) this.serverStatus = unpackWire('lemona_wire_status', body).status;
      else if (type === FRAME.REFUSED) this.#refused = body.readUInt32LE();
    }
    this.socket.end();
  }

  /** Sends a frame; resolves when there is room for the next. */
  async send(type: number, ...body: readonly Buffer[]): Promise<void> {
    await this.write(...frame(type, ...body));
  }

  /** Sends frames, or pieces of them; resolves when there is room for more. */
  async write(...parts: readonly Buffer[]): Promise<void> {
    const sealed = this.#channel.seal(parts);
    const messages: Buffer[] = [];
    if (this.#channel === plainChannel)
      messages.push(sealed.length === 1 && sealed[0] ? sealed[0] : Buffer.concat(sealed));
    else for (let i = 0; i < sealed.length; i += 2) messages.push(Buffer.concat(sealed.slice(i, i + 2)));
    let isFull = false;
    for (const bytes of this.tap(messages)) isFull = !this.socket.write(bytes) || isFull;
    if (isFull && !this.socket.destroyed) {
      await Promise.race([once(this.socket, 'drain'), this.closed]).catch(() => {});
    }
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
        if (error instanceof SimRefused) this.refusals.push(error.status);
      });
      if (this.waiting > 0) await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  /** No further connection is tried. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Says that nothing more will come, and waits until the server has it all. */
  async end(): Promise<void> {
    const connection = await SimConnection.open(this.options);
    await connection.send(FRAME.END, packStreams(connection.ready));
    connection.socket.end();
    await connection.closed;
  }
}

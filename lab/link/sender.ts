// SPDX-License-Identifier: MIT
/**
 * A connection to a logging server from the sender's side, as `docs/wire.md` describes it: the opening, frames there,
 * acknowledgements back. What is sent, and when it is sent again, is for whoever has opened it.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ABI_HASH } from '../abi/layout.js';
import { WIRE_KEY_BYTES, WIRE_MAGIC, WIRE_SILENCE_MS, WIRE_STATUSES, WIRE_VERSION } from '../abi/wire.js';
import { withDeadline } from '../util/deadline.js';
import { LabError, messageOf, systemCodeOf } from '../util/errors.js';
import { NoiseHandshake } from './noise.js';
import {
  FRAME,
  frame,
  MODE,
  packWire,
  plainProof,
  STATUS,
  type Streams,
  statusName,
  unpackStreams,
  unpackWire,
  WIRE_SIZE,
} from './wire.js';
import { type Channel, noiseChannel, plainChannel } from './wire-channel.js';
import { type ReadFrame, WireReader } from './wire-reader.js';

export interface SenderOptions {
  readonly host: string;
  readonly port: number;
  readonly machine: string;
  readonly key: Buffer;
  readonly mode: number;
  readonly bootId: bigint;
  readonly cpus: number;
  /** Number of the category that it says it has. */
  readonly category?: number;
  readonly signal?: AbortSignal;
}

/** What somebody can do about a refusal; of the others, to come again is all. */
const NEXT: Readonly<Record<string, string>> = {
  UNKNOWN_MACHINE: 'run `./lemona enroll DIR MACHINE --key-file FILE` where the server is',
  BAD_KEY: 'bring the key that the machine was enrolled with, or enroll it again with this one',
  BAD_MODE: 'enroll the machine for this mode, by --mode',
  BAD_VERSION: 'bring both sides to the same version of this program',
};

/** The server has said no. */
export class WireRefused extends LabError {
  /** Name of the status. */
  readonly status: string;

  constructor(where: string, status: string) {
    const why = WIRE_STATUSES.find(({ name }) => name === status)?.doc ?? 'which is not known here';
    const next = NEXT[status] ?? 'try again';
    super('LAB_LINK_REFUSED', `the server at ${where} refused: ${status}: ${why}`, { next });
    this.status = status;
  }
}

/** Nobody is there, or nobody is any more. */
function noConnection(where: string, what: string, cause?: unknown): LabError {
  const next = 'see that `./lemona server` runs there, and can be reached from here';
  return new LabError('LAB_LINK_NO_CONNECT', `connecting to ${where}: ${what}`, { cause, next });
}

/** It answers, and cannot show the key. */
function notTheServer(where: string): LabError {
  return new LabError('LAB_LINK_REFUSED', `who answers at ${where} has not shown the machine's key`, {
    next: 'compare the key files of both sides; if they are the same, somebody else answers there',
  });
}

export class WireSender {
  readonly socket: Socket;
  /** Settles when the connection is over: with what REFUSED said, if it came. */
  readonly closed: Promise<string | undefined>;
  /** What the server said of its disk last. */
  serverStatus: number = STATUS.OK;
  /** Of the storage point; as true as the opening, which covers it. */
  serverId = 0n;
  ready: Streams = new Map();
  onAck: (streams: Streams) => void = () => {};
  /** END was said, and the record of the boot is sealed. */
  isClosed = false;
  /** When something last came, by `performance.now()`. */
  heardMs = 0;
  readonly #options: SenderOptions;
  #channel: Channel = plainChannel;
  #refused: number | undefined;

  protected constructor(options: SenderOptions) {
    const { host, port } = options;
    this.#options = options;
    this.socket = connect({ port, host, noDelay: true });
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => resolve(this.#refused === undefined ? undefined : statusName(this.#refused)));
    });
  }

  /** Opens; rejects with WireRefused, or because nobody is there. */
  static open(options: SenderOptions): Promise<WireSender> {
    return WireSender.begin(new WireSender(options));
  }

  protected static async begin<T extends WireSender>(sender: T): Promise<T> {
    const { signal } = sender.#options;
    try {
      const label = `connecting to ${sender.where}`;
      await withDeadline(sender.#open(), { label, timeoutMs: WIRE_SILENCE_MS, code: 'LAB_LINK_NO_CONNECT', signal });
      return sender;
    } catch (error) {
      sender.socket.destroy();
      throw error instanceof LabError
        ? error
        : noConnection(sender.where, systemCodeOf(error) ?? messageOf(error), error);
    }
  }

  /** As people see it. */
  get where(): string {
    return `${this.#options.host}:${this.#options.port}`;
  }

  async #open(): Promise<void> {
    const { socket, where } = this;
    const options = this.#options;
    await once(socket, 'connect');
    const chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
    let rest: Buffer = Buffer.alloc(0);
    const more = async () => {
      const next = await chunks.next();
      if (next.done === true) throw noConnection(where, 'the server left during the opening');
      rest = Buffer.concat([rest, next.value]);
    };
    const take = async (bytes: number) => {
      // Shorter than what is due: a REFUSED that is not sealed.
      while (rest.length < bytes) {
        await more().catch((error: unknown) => {
          throw rest.length === 16 ? new WireRefused(where, statusName(rest.readUInt32LE(8))) : error;
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
    socket.write(hello);
    const challenge = await take(WIRE_SIZE.lemona_wire_challenge);
    const { magic, status, server_id } = unpackWire('lemona_wire_challenge', challenge);
    if (magic !== WIRE_MAGIC) throw noConnection(where, 'what answers there is no logging server');
    if (status !== STATUS.OK) throw new WireRefused(where, statusName(status));
    this.serverId = server_id;
    let proof: Buffer = Buffer.alloc(WIRE_KEY_BYTES);
    let reader = new WireReader(undefined);
    if (options.mode === MODE.NOISE) {
      const prologue = Buffer.concat([hello, challenge]);
      const handshake = new NoiseHandshake({ role: 'initiator', psk: options.key, prologue });
      socket.write(handshake.write(Buffer.alloc(0)) ?? '');
      if (handshake.read(await take(48)) === undefined) throw notTheServer(where);
      const { send, receive } = handshake.split();
      this.#channel = noiseChannel(send);
      reader = new WireReader(receive);
    } else {
      socket.write(plainProof('driver', options.key, hello, challenge));
      proof = plainProof('server', options.key, hello, challenge);
    }
    const frames = this.#frames(reader, chunks, rest);
    const first = await frames.next();
    if (first.done === true) throw noConnection(where, 'the server left before READY');
    const { type, body } = first.value;
    if (type === FRAME.REFUSED) throw new WireRefused(where, statusName(body.readUInt32LE()));
    if (type !== FRAME.READY) throw noConnection(where, `a frame of type ${type} came instead of READY`);
    if (!body.subarray(0, WIRE_KEY_BYTES).equals(proof)) throw notTheServer(where);
    this.ready = unpackStreams(body.subarray(WIRE_KEY_BYTES)) ?? new Map();
    void this.#listen(frames).catch(() => socket.destroy());
  }

  async *#frames(reader: WireReader, chunks: AsyncIterator<Buffer>, first: Buffer): AsyncGenerator<ReadFrame> {
    let chunk = first;
    for (;;) {
      this.heardMs = performance.now();
      yield* reader.push(chunk);
      const next = await chunks.next();
      if (next.done === true) return;
      chunk = next.value;
    }
  }

  async #listen(frames: AsyncIterator<ReadFrame>): Promise<void> {
    for (;;) {
      const next = await frames.next();
      if (next.done === true) break;
      const { type, body } = next.value;
      if (type === FRAME.ACK) this.onAck(unpackStreams(body) ?? new Map());
      else if (type === FRAME.HEARTBEAT) this.serverStatus = unpackWire('lemona_wire_status', body).status;
      else if (type === FRAME.CLOSED) this.isClosed = true;
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
    if (!this.put(messages) && !this.socket.destroyed) {
      await Promise.race([once(this.socket, 'drain'), this.closed]).catch(() => {});
    }
  }

  /** Puts whole messages on the wire, or one frame in mode PLAIN; false: there is no room for more. */
  protected put(messages: readonly Buffer[]): boolean {
    let hasRoom = true;
    for (const bytes of messages) hasRoom = this.socket.write(bytes) && hasRoom;
    return hasRoom;
  }
}

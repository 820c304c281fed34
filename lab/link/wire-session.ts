// SPDX-License-Identifier: MIT
/**
 * One connection of a driver, from its frames on: sub-buffers to the store, acknowledgements back. It reads only what
 * it can put away: a slow or full disk fills the socket, then the guest's buffers, and there the guest waits or
 * declares a loss. Record bodies are never looked at.
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WIRE_HEARTBEAT_MS } from '../abi/wire.js';
import { parseSubbuf, type SubbufHeader } from '../trace/subbuf.js';
import { deferred } from '../util/deadline.js';
import { LabError, messageOf } from '../util/errors.js';
import type { Boot, BootId, BootOwner, Boots } from './boots.js';
import type { Rooms } from './rooms.js';
import {
  FRAME,
  frame,
  packStreams,
  packWire,
  refusal,
  STATUS,
  unpackStreams,
  unpackWire,
  WIRE_SIZE,
  type WireValues,
} from './wire.js';
import type { Channel } from './wire-channel.js';
import { FrameReader } from './wire-frames.js';

/** Acknowledgements and heartbeats sum up: a peer that does not read gets a later one instead of all. */
const UNSENT_MAX_BYTES = 256 * 1024;
/** How long a last message may take to leave. */
const PARTING_MS = 1000;
/** How often a full disk is tried again. */
const SPACE_POLL_MS = 250;
const SPACE_POLL_MAX_MS = 2000;
/** A frame that has been in pieces for so long gives way when others wait for room. */
const SLOW_FRAME_MS = 10_000;

/** Why a connection ended; OK: by the driver, or for a reason that is not its fault. */
export interface SessionEnd {
  readonly status: number;
  readonly why: string;
}

/** What is wrong with what the driver sent. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, why: string) {
    super(why);
    this.status = status;
  }
}

export interface SessionOptions {
  readonly socket: Socket;
  readonly chunks: AsyncIterator<Buffer>;
  /** Bytes that came together with the opening. */
  readonly first: Buffer;
  readonly channel: Channel;
  readonly id: BootId;
  readonly address: string;
  readonly mode: number;
  readonly cpus: number;
  readonly boots: Boots;
  readonly rooms: Rooms;
  /** Of WireLimits. */
  readonly silenceMs: number;
  /** Of READY. */
  readonly proof: Buffer;
  /** The boot is open: READY follows. */
  readonly onReady: () => void;
  readonly onRefused: (end: SessionEnd) => void;
  readonly onDisk: (isFull: boolean) => void;
}

export class WireSession implements BootOwner {
  readonly id: BootId;
  readonly address: string;
  readonly mode: number;
  readonly sinceMs = Date.now();
  /** Of the driver's last heartbeat. */
  driver: WireValues<'lemona_wire_status'> | undefined;
  /** Bytes as they came from the socket. */
  bytes = 0;
  subbufs = 0;
  /** Sub-buffers that came once more after a connection broke. */
  known = 0;
  /** What heartbeats say. */
  status: number = STATUS.OK;
  readonly #options: SessionOptions;
  readonly #frames = new FrameReader();
  /** Largest number of each stream in this connection. */
  readonly #seen = new Map<number, bigint>();
  readonly #acked = new Map<number, bigint>();
  readonly #over = new AbortController();
  readonly #done = deferred<void>();
  #boot: Boot | undefined;
  /** The append of the last sub-buffer: while the disk takes it, the next one is read and checked. */
  #appending: Promise<void> = Promise.resolve();
  #room: Buffer | undefined;
  #roomSinceMs = 0;
  /** When we began to wait for the driver; undefined while we are busy with what it sent. */
  #waitingSinceMs: number | undefined;
  #lastSentMs = 0;
  #end: SessionEnd | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.id = options.id;
    this.address = options.address;
    this.mode = options.mode;
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Runs to the end of the connection. */
  async run(): Promise<SessionEnd> {
    const { boots, id, cpus, rooms } = this.#options;
    try {
      this.#boot = await boots.claim(id, cpus, this);
      await this.#serve(this.#boot);
    } catch (error) {
      if (error instanceof Refusal) this.refuse(error.status, error.message);
      // Before READY a full disk is all that can be said of ours; later the driver just comes again.
      else if (this.#boot === undefined) this.refuse(STATUS.DISK_FULL, messageOf(error));
      else this.#finish({ status: STATUS.OK, why: messageOf(error) });
    } finally {
      this.#over.abort();
      await this.#appending.catch(() => {});
      if (this.#room !== undefined) rooms.giveBack(this.#room);
      if (this.#boot?.owner === this && this.#boot.store !== undefined) this.#boot.store.onSynced = undefined;
      this.#done.resolve();
      if (this.#boot !== undefined) boots.release(this.#boot, this);
    }
    await this.#part();
    return this.#end ?? { status: STATUS.OK, why: 'closed by the driver' };
  }

  async #serve(boot: Boot): Promise<void> {
    const { chunks, first, proof, onReady } = this.#options;
    this.#listen(boot);
    const synced = [...(boot.store?.synced ?? [])];
    for (const [cpu, next] of synced) this.#acked.set(cpu, next);
    onReady();
    this.#send(frame(FRAME.READY, proof, packStreams(synced)));
    await this.#take(boot, first);
    while (!this.#hasEnded) {
      this.#waitingSinceMs = performance.now();
      const next = await chunks.next();
      this.#waitingSinceMs = undefined;
      if (next.done === true || this.#hasEnded) break;
      await this.#take(boot, next.value);
    }
    // Its failure is the end's reason.
    await this.#appending;
  }

  /** Called a few times a second: heartbeats, silence, and room that others wait for. */
  tick(): void {
    if (this.#end !== undefined || this.#boot === undefined) return;
    const now = performance.now();
    const { silenceMs } = this.#options;
    if (this.#waitingSinceMs !== undefined && now - this.#waitingSinceMs > silenceMs)
      this.#finish({ status: STATUS.OK, why: `nothing came for ${silenceMs / 1000} s` });
    else if (this.#room !== undefined && this.#options.rooms.waiting > 0 && now - this.#roomSinceMs > SLOW_FRAME_MS)
      this.refuse(STATUS.BUSY, `a frame was not whole after ${SLOW_FRAME_MS / 1000} s, and others wait for memory`);
    else {
      this.#acknowledge();
      // A little early: the other side's limit counts from when ours arrives.
      if (now - this.#lastSentMs > WIRE_HEARTBEAT_MS / 2)
        this.#send(frame(FRAME.HEARTBEAT, packWire('lemona_wire_status', { status: this.status })));
    }
  }

  /** Tells the driver why, and ends the connection. */
  refuse(status: number, why = 'the same boot has connected anew'): void {
    if (this.#end !== undefined) return;
    this.#options.onRefused({ status, why });
    this.#send(refusal(status));
    this.#finish({ status, why });
  }

  /** Ends it without a word. */
  stop(why: string): void {
    this.#finish({ status: STATUS.OK, why });
  }

  /** Another task may end it while this one waits. */
  get #hasEnded(): boolean {
    return this.#end !== undefined;
  }

  #finish(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#over.abort();
    // While it waits for the driver it only finishes what it appends, and after that it only parts.
    if (this.#waitingSinceMs !== undefined) void this.#appending.catch(() => {}).then(() => this.#done.resolve());
    setTimeout(() => this.#options.socket.destroy(), PARTING_MS).unref();
    this.#options.socket.end();
  }

  /** Reads to the end: closing a socket with bytes unread would reset it, and our last words with it. */
  async #part(): Promise<void> {
    const { socket, chunks } = this.#options;
    if (socket.destroyed) return;
    socket.end();
    setTimeout(() => socket.destroy(), PARTING_MS).unref();
    while (!socket.destroyed) {
      const next = await chunks.next().catch(() => undefined);
      if (next === undefined || next.done === true) break;
    }
    socket.destroy();
  }

  #send(parts: readonly Buffer[]): void {
    const { socket, channel } = this.#options;
    if (!socket.writable) return;
    socket.cork();
    for (const bytes of channel.seal(parts)) socket.write(bytes);
    socket.uncork();
    this.#lastSentMs = performance.now();
  }

  #listen(boot: Boot): void {
    if (boot.store === undefined) return;
    boot.store.onSynced = () => {
      const failure = boot.store?.failure;
      // What was appended and not synced is in doubt: the driver still has it, and sends it again.
      if (failure !== undefined) this.#finish({ status: STATUS.OK, why: messageOf(failure) });
      else this.#acknowledge();
    };
  }

  #acknowledge(): void {
    if (this.#options.socket.writableLength > UNSENT_MAX_BYTES) return;
    const news = [...(this.#boot?.store?.synced ?? [])].filter(([cpu, next]) => next !== this.#acked.get(cpu));
    if (news.length === 0) return;
    for (const [cpu, next] of news) this.#acked.set(cpu, next);
    this.#send(frame(FRAME.ACK, packStreams(news)));
  }

  async #take(boot: Boot, chunk: Buffer): Promise<void> {
    const { channel, rooms } = this.#options;
    this.bytes += chunk.length;
    let isInChunk = false;
    for (const plain of channel.open(chunk)) {
      if (plain === undefined) throw new Refusal(STATUS.TAMPERED, 'a message was not authentic');
      for (const step of this.#frames.push(plain)) {
        if (step.step === 'bad') throw new Refusal(STATUS.BAD_FRAME, step.why);
        if (step.step === 'room') {
          this.#room = await rooms.take(step.bytes, this.#over.signal);
          this.#roomSinceMs = performance.now();
          this.#frames.give(this.#room);
          continue;
        }
        await this.#frame(boot, step.type, step.body);
        isInChunk = this.#room === undefined;
        this.#leaveRoom();
        if (this.#hasEnded) return;
      }
    }
    // The next read takes the chunk's place.
    if (isInChunk) await this.#appending;
  }

  /** Gives the room of the last frame back, when its sub-buffer is appended. */
  #leaveRoom(): void {
    const room = this.#room;
    if (room === undefined) return;
    this.#room = undefined;
    void this.#appending.catch(() => {}).then(() => this.#options.rooms.giveBack(room));
  }

  async #frame(boot: Boot, type: number, body: Buffer): Promise<void> {
    if (type === FRAME.SUBBUF) await this.#subbuf(boot, body);
    else if (type === FRAME.HEARTBEAT && body.length === WIRE_SIZE.lemona_wire_status)
      this.driver = unpackWire('lemona_wire_status', body);
    else if (type === FRAME.END && this.#isEnd(body)) {
      await this.#appending;
      await boot.store?.flush();
      this.#acknowledge();
      boot.isEnded = true;
    } else throw new Refusal(STATUS.BAD_FRAME, `a frame of type ${type} and ${body.length} bytes`);
  }

  /** Streams of this boot, each once. */
  #isEnd(body: Buffer): boolean {
    const streams = unpackStreams(body);
    const count = body.length / WIRE_SIZE.lemona_wire_stream;
    return streams?.size === count && [...streams.keys()].every((cpu) => cpu < this.#options.cpus);
  }

  async #subbuf(boot: Boot, body: Buffer): Promise<void> {
    const check = parseSubbuf(body);
    if (!check.ok) throw new Refusal(STATUS.BAD_FRAME, `a sub-buffer: ${check.problem.detail}`);
    const { header } = check;
    const { cpu, number } = header;
    if (header.length !== body.length)
      throw new Refusal(STATUS.BAD_FRAME, `a sub-buffer of ${header.length} bytes in a frame of ${body.length}`);
    if (header.bootId !== boot.bootId || cpu >= this.#options.cpus)
      throw new Refusal(STATUS.BAD_FRAME, `a sub-buffer of CPU ${cpu} of boot ${header.bootId.toString(16)}`);
    if (number <= (this.#seen.get(cpu) ?? -1n))
      throw new Refusal(STATUS.BAD_FRAME, `CPU ${cpu}: number ${number} came after ${this.#seen.get(cpu)}`);
    this.#seen.set(cpu, number);
    await this.#appending;
    if (this.#hasEnded) return;
    boot.isEnded = false;
    this.#appending = this.#append(boot, header, body).then((isNew) => {
      if (isNew) this.subbufs++;
      else this.known++;
    });
    // Whoever waits for it next is told; nobody may be waiting yet.
    this.#appending.catch((error: unknown) => this.#appendFailed(error));
  }

  /** Nothing else may come of a driver that waits for the acknowledgement of what failed. */
  #appendFailed(error: unknown): void {
    if (this.#waitingSinceMs !== undefined) this.#finish({ status: STATUS.OK, why: messageOf(error) });
  }

  /** Appends; on a full disk it waits for space, and the socket with it. */
  async #append(boot: Boot, header: SubbufHeader, body: Buffer): Promise<boolean> {
    const reached = new Map(boot.store?.reached);
    for (let pollMs = SPACE_POLL_MS; ; pollMs = Math.min(2 * pollMs, SPACE_POLL_MAX_MS)) {
      try {
        if (boot.store === undefined || boot.store.failure !== undefined) {
          await this.#options.boots.reopen(boot, reached);
          this.#listen(boot);
        }
        const isNew = await boot.store?.append(header, body);
        this.#setDisk(STATUS.OK);
        return isNew === true;
      } catch (error) {
        if (!(error instanceof LabError) || error.code !== 'LAB_ENV_DISK_FULL') throw error;
        this.#setDisk(STATUS.DISK_FULL);
      }
      await sleep(pollMs, undefined, { signal: this.#over.signal });
    }
  }

  #setDisk(status: number): void {
    if (status === this.status) return;
    this.status = status;
    this.#options.onDisk(status === STATUS.DISK_FULL);
  }
}

// SPDX-License-Identifier: MIT
/**
 * One connection of a driver, once it is open: an intake puts its sub-buffers into the store, acknowledgements go back.
 * Nothing is read that can't be put away: a slow or full disk fills the socket, then the guest's buffers, and there the
 * guest waits or declares a loss. Record bodies are never looked at.
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WIRE_HEARTBEAT_MS } from '../abi/wire.js';
import { deferred } from '../util/deadline.js';
import { LabError, messageOf } from '../util/errors.js';
import type { Boot, BootId, BootOwner, Boots } from './boots.js';
import { Intake, type Said } from './intake.js';
import type { CipherState } from './noise.js';
import {
  FRAME,
  frame,
  packStreams,
  packWire,
  refusal,
  STATUS,
  type StreamEnds,
  unpackEnds,
  unpackWire,
  WIRE_SIZE,
  type WireValues,
} from './wire.js';
import type { Channel } from './wire-channel.js';

/** Acknowledgements and heartbeats sum up: a peer that does not read gets a later one instead of all. */
const UNSENT_MAX_BYTES = 256 * 1024;
/** How long a last message may take to leave. */
const PARTING_MS = 1000;
/** How often a full disk is tried again. */
const SPACE_POLL_MS = 250;
const SPACE_POLL_MAX_MS = 2000;

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
  /** Bytes that came together with the opening. */
  readonly first: Buffer;
  readonly channel: Channel;
  /** Undefined in mode PLAIN. */
  readonly cipher: CipherState | undefined;
  readonly id: BootId;
  readonly address: string;
  readonly mode: number;
  readonly cpus: number;
  readonly boots: Boots;
  /** Path of the intake. */
  readonly program: string;
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
  subbufs = 0;
  /** What heartbeats say. */
  status: number = STATUS.OK;
  readonly #options: SessionOptions;
  readonly #acked = new Map<number, bigint>();
  readonly #over = new AbortController();
  readonly #done = deferred<void>();
  #boot: Boot | undefined;
  #intake: Intake | undefined;
  /** Over when no room is being made for the intake. */
  #lending: Promise<void> = Promise.resolve();
  #lastSentMs = 0;
  #end: SessionEnd | undefined;
  #hasHeardEnd = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.id = options.id;
    this.address = options.address;
    this.mode = options.mode;
  }

  /** Bytes as they came from the socket. */
  get bytes(): number {
    return this.#intake?.bytes ?? 0;
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Runs to the end of the connection. */
  async run(): Promise<SessionEnd> {
    const { boots, id, cpus } = this.#options;
    try {
      this.#boot = await boots.claim(id, cpus, this);
      if (!this.#hasEnded) await this.#serve(this.#boot);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#over.abort();
      await this.#leave();
      this.#done.resolve();
      if (this.#boot !== undefined && (await boots.release(this.#boot, this)) && this.#hasHeardEnd)
        this.#send(frame(FRAME.CLOSED));
      await this.#part();
    }
    return this.#end ?? { status: STATUS.OK, why: 'closed by the driver' };
  }

  #fail(error: unknown): void {
    if (error instanceof Refusal) this.refuse(error.status, error.message);
    else if (this.#boot?.store?.isEnded === true) this.refuse(STATUS.ENDED, messageOf(error));
    else if (this.#boot === undefined) {
      const isFull = error instanceof LabError && error.code === 'LAB_ENV_DISK_FULL';
      this.refuse(isFull ? STATUS.DISK_FULL : STATUS.FAILED, messageOf(error));
    }
    // The driver just comes again.
    else this.#finish({ status: STATUS.OK, why: messageOf(error) });
  }

  async #serve(boot: Boot): Promise<void> {
    const { socket, mode, cpus, cipher, first, silenceMs, program, proof, onReady } = this.#options;
    // Before READY: by that the driver frees what it takes for the same.
    if (boot.store?.forked !== undefined) throw new Refusal(STATUS.ENDED, boot.store.forked);
    const synced = [...(boot.store?.synced ?? [])];
    for (const [cpu, next] of synced) this.#acked.set(cpu, next);
    const { bootId, category } = boot;
    const begin = { mode, cpus, bootId, category, silenceMs, stored: boot.store?.stored ?? new Map(), cipher, first };
    const intake = new Intake(program, socket, begin);
    this.#intake = intake;
    this.#listen(boot);
    onReady();
    this.#send(frame(FRAME.READY, proof, packStreams(synced)));
    // To its end, whatever comes: until then it may be writing.
    await intake.listen((said) => this.#hear(boot, said).catch((error: unknown) => this.#fail(error)));
  }

  /** The intake touches nothing of the boot any more, nor does anybody here. */
  async #leave(): Promise<void> {
    const intake = this.#intake;
    if (intake !== undefined && !intake.isOver) {
      intake.kill();
      await intake.gone();
    }
    await this.#lending;
    const { store, owner } = this.#boot ?? {};
    if (owner !== this || store === undefined) return;
    store.onSynced = undefined;
    store.outsideDigest = undefined;
  }

  /** Called a few times a second: acknowledgements and heartbeats. */
  tick(): void {
    if (this.#intake === undefined || (this.#hasEnded && !this.#isAwaited)) return;
    this.#acknowledge();
    // A little early: the other side's limit counts from when ours arrives.
    if (performance.now() - this.#lastSentMs > WIRE_HEARTBEAT_MS / 2)
      this.#send(frame(FRAME.HEARTBEAT, packWire('lemona_wire_status', { status: this.status })));
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

  /** The driver has said all, and waits until the record is sealed here. */
  get #isAwaited(): boolean {
    return this.#hasHeardEnd && this.#boot?.ends !== undefined;
  }

  #finish(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#over.abort();
    this.#intake?.leave();
    if (!this.#isAwaited) this.#options.socket.end();
  }

  /** The intake reads to the end: closing a socket with bytes unread would reset it, and our last words with it. */
  async #part(): Promise<void> {
    const { socket } = this.#options;
    if (!socket.destroyed) socket.end();
    const timer = setTimeout(() => {
      this.#intake?.kill();
      socket.destroy();
    }, PARTING_MS);
    await this.#intake?.gone();
    clearTimeout(timer);
    socket.destroySoon();
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
    boot.store.outsideDigest = async (file, extra) => this.#intake?.digest(file, extra);
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

  async #hear(boot: Boot, said: Said): Promise<void> {
    if (said.said === 'end') {
      if (said.status === STATUS.ENDED && !this.#hasEnded) await this.#options.boots.fork(boot, said.why);
      if (said.status !== STATUS.OK) throw new Refusal(said.status, said.why);
      this.#finish({ status: STATUS.OK, why: said.why });
    }
    // It has been told to leave; what it says of the time before counts no more.
    if (this.#hasEnded) return;
    switch (said.said) {
      case 'appended':
        boot.ends = undefined;
        boot.store?.appended(said);
        this.subbufs++;
        return;
      case 'frame':
        return this.#frame(boot, said.type, said.body);
      case 'want':
        // Not waited for: the intake waits, and has to be heard when a segment is sealed.
        this.#lending = this.#lend(boot, said.length).catch((error: unknown) => this.#fail(error));
        return;
      case 'disk':
        this.#setDisk(said.isFull ? STATUS.DISK_FULL : STATUS.OK);
        return;
    }
  }

  async #frame(boot: Boot, type: number, body: Buffer): Promise<void> {
    const ends = type === FRAME.END ? this.#endsOf(body) : undefined;
    if (type === FRAME.HEARTBEAT && body.length === WIRE_SIZE.lemona_wire_status)
      this.driver = unpackWire('lemona_wire_status', body);
    else if (ends !== undefined) {
      this.#demandAll(boot, ends);
      await boot.store?.flush();
      this.#acknowledge();
      boot.ends = ends;
      this.#hasHeardEnd = true;
    } else throw new Refusal(STATUS.BAD_FRAME, `a frame of type ${type} and ${body.length} bytes`);
  }

  /** What it had acknowledged may be gone here: a folder that was put back is not the end of a boot. */
  #demandAll(boot: Boot, ends: StreamEnds): void {
    for (const [cpu, { next }] of ends) {
      const here = boot.store?.reached.get(cpu) ?? 0n;
      if (here < next)
        throw new Refusal(STATUS.BAD_FRAME, `the end of CPU ${cpu} is at ${next}, and the record here ends at ${here}`);
    }
  }

  /** Ends of streams of this boot. */
  #endsOf(body: Buffer): StreamEnds | undefined {
    const ends = unpackEnds(body);
    return [...(ends?.keys() ?? [])].every((cpu) => cpu < this.#options.cpus) ? ends : undefined;
  }

  /** Lends the intake a place for its next sub-buffers; on a full disk it waits for space, and the socket with it. */
  async #lend(boot: Boot, bytes: number): Promise<void> {
    const reached = new Map(boot.store?.reached);
    for (let pollMs = SPACE_POLL_MS; ; pollMs = Math.min(2 * pollMs, SPACE_POLL_MAX_MS)) {
      try {
        if (boot.store === undefined || boot.store.failure !== undefined) {
          await this.#options.boots.reopen(boot, reached);
          this.#listen(boot);
        }
        const room = await boot.store?.room(bytes);
        this.#setDisk(STATUS.OK);
        if (room !== undefined) this.#intake?.lease(room);
        return;
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

// SPDX-License-Identifier: MIT
/**
 * A second server as the witness of this lab: the lines of `heads.jsonl` go to it as the records of a machine would, and it
 * appends, syncs, chains and signs them as it does all else. It needs to know nothing of heads.
 *
 * Each line is a sub-buffer of its own, with an INFO record `head=LINE`. So the number of a sub-buffer is that of its line
 * since the record began, and what READY says is how many lines the server has: whatever was cut, killed or restarted in
 * between, nothing has to be guessed, and nothing comes twice. A record (a boot, to the server) is ended when all is sent,
 * or, where lines keep coming, after an hour: what the server has of it is signed then. Its identity is the time of its
 * beginning in nanoseconds, so that names of boots are in the order of their lines.
 */
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KIND } from '../abi/layout.js';
import { WIRE_HEARTBEAT_MS, WIRE_SILENCE_MS } from '../abi/wire.js';
import { WireRefused, WireSender } from '../link/sender.js';
import { FRAME, frame, MODE, packEnds, packWire, statusName } from '../link/wire.js';
import { packRecord, packSubbuf } from '../trace/subbuf-builder.js';
import { withDeadline } from '../util/deadline.js';
import { ioError, LabError, messageOf, systemCodeOf, throwIfAborted } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { type Witness, type WitnessState, WitnessStateFile } from './witness-state.js';

export interface WitnessOptions extends Witness {
  readonly key: Buffer;
  /** Of the heads, and of what is known of the server. */
  readonly dataDir: string;
  /** Goes on with lines that come, until the signal is given. */
  readonly isFollowing: boolean;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** The server has them on its disk, and this is noted. */
  readonly onAcknowledged: (news: Acknowledged) => Promise<void>;
  /** A record with lines in it is ended after so long. */
  readonly recordMs?: number;
}

export interface Acknowledged {
  /** Lines that it had not acknowledged before. */
  readonly heads: number;
  /** Of the file, in all. */
  readonly lines: number;
  readonly bytes: number;
  readonly server: string;
  readonly boot: string;
}

const LF = 0x0a;
/** Read and sent at once: some 800 lines, and far more than the longest path makes of one. */
const BATCH_BYTES = 256 * 1024;
const POLL_MS = 1000;
const RECORD_MS = 3_600_000;
/** A server whose disk is full takes nothing; whoever is not asked to wait for it wants to know. */
const ACK_MS = 30_000;
/** As `docs/wire.md` says. */
const [RETRY_MS, RETRY_MAX_MS] = [100, 5000];
/** Refusals that pass: a man in the middle, an older connection of ours, too many of others', a server in trouble. */
const PASSING = ['BUSY', 'DISK_FULL', 'TAMPERED', 'REPLACED', 'FAILED'];

const CUT_NEXT = 'audit the runs with what the witness keeps (`audit RUN --head …/machines/NAME`); put the file back';

type Boot = NonNullable<WitnessState['boot']>;

/** Sends what the server has not; resolves when that is done, or with `isFollowing` when the signal is given. */
export async function witnessHeads(options: WitnessOptions): Promise<void> {
  const state = await WitnessStateFile.take(options.dataDir, options);
  try {
    await new HeadsSender(options, state, await state.read()).run();
  } finally {
    await state.release();
  }
}

/** The whole lines of a file from a byte on, each with its line feed, as far as one read goes. */
async function linesFrom(file: string, from: number): Promise<Buffer[]> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if (from === 0 && systemCodeOf(error) === 'ENOENT') return [];
    throw ioError(`reading ${file}`, error);
  }
  // With the line feed before.
  const before = Math.min(from, 1);
  const chunk = Buffer.alloc(BATCH_BYTES);
  const { bytesRead } = await handle.read(chunk, 0, chunk.length, from - before).finally(() => handle.close());
  if (before === 1 && (bytesRead === 0 || chunk[0] !== LF))
    throw new LabError('LAB_RUN_CORRUPT', `${file} was cut or replaced: it had ${from} bytes of whole lines`, {
      next: CUT_NEXT,
    });
  const lines: Buffer[] = [];
  let at = before;
  for (let end = chunk.indexOf(LF, at); end >= 0 && end < bytesRead; end = chunk.indexOf(LF, at)) {
    lines.push(chunk.subarray(at, end + 1));
    at = end + 1;
  }
  if (lines.length === 0 && bytesRead === BATCH_BYTES)
    throw new LabError('LAB_RUN_CORRUPT', `${file}: a line of more than ${BATCH_BYTES} bytes begins at ${from}`);
  return lines;
}

const sizeOf = (lines: readonly Buffer[]) => lines.reduce((sum, line) => sum + line.length, 0);

class HeadsSender {
  readonly #options: WitnessOptions;
  readonly #heads: string;
  readonly #file: WitnessStateFile;
  /** As it is in the file. */
  #state: WitnessState | undefined;
  #retryMs = RETRY_MS;
  #connects = 0n;

  constructor(options: WitnessOptions, file: WitnessStateFile, state: WitnessState | undefined) {
    this.#options = options;
    this.#heads = path.join(options.dataDir, 'heads.jsonl');
    this.#file = file;
    this.#state = state;
  }

  async run(): Promise<void> {
    const { isFollowing, signal, log } = this.#options;
    while (isFollowing || (await this.#hasWork())) {
      try {
        await this.#connection();
        if (isFollowing && signal.aborted) return;
      } catch (error) {
        if (isFollowing && signal.aborted) return this.#interrupted();
        if (!isFollowing || !mayPass(error)) throw error;
        log.warn(`${messageOf(error)}: trying again`);
        await sleep(this.#retryMs, undefined, { signal }).catch(() => {});
        this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS);
      }
    }
  }

  /** Without a connection: nothing can be said to the server any more. */
  async #interrupted(): Promise<void> {
    if (!(await this.#hasWork())) return;
    throw new LabError('LAB_ABORTED', 'interrupted before the server had all heads, and was told that it is all', {
      next: `run it again, without --follow: it goes on where it was, by ${this.#file.file}`,
    });
  }

  /** Lines that were not acknowledged, or a record that was not ended. */
  async #hasWork(): Promise<boolean> {
    const { boot = null, bytes = 0 } = this.#state ?? {};
    return boot !== null || (await linesFrom(this.#heads, bytes)).length > 0;
  }

  /** One connection, which ends a record or breaks. */
  async #connection(): Promise<void> {
    const { host, port, machine, key, signal } = this.#options;
    const { boot: left = null, bytes = 0, lines = 0 } = this.#state ?? {};
    const boot = left ?? { id: newBoot(), bytes, lines, isEnding: false };
    const bootId = BigInt(`0x${boot.id}`);
    const sender = await WireSender.open({ host, port, machine, key, mode: MODE.NOISE, bootId, cpus: 1, signal });
    this.#connects++;
    const beat = setInterval(() => this.#beat(sender), WIRE_HEARTBEAT_MS / 2);
    try {
      await this.#begin(sender, boot);
      if (!boot.isEnding) await this.#deliver(sender);
      await this.#end(sender);
    } finally {
      clearInterval(beat);
      sender.socket.destroy();
    }
  }

  #beat(sender: WireSender): void {
    if (performance.now() - sender.heardMs > WIRE_SILENCE_MS) sender.socket.destroy();
    else if (sender.socket.writable)
      void sender.send(FRAME.HEARTBEAT, packWire('lemona_wire_status', { connects: this.#connects }));
  }

  /** What the server has of this record, it says itself. */
  async #begin(sender: WireSender, wanted: Boot): Promise<void> {
    const { log } = this.#options;
    const server = hex(sender.serverId);
    const isOther = this.#state !== undefined && this.#state.server !== server;
    if (isOther) log.warn(`${sender.where}: another server than before answers there: it gets all heads`);
    const boot = isOther ? { ...wanted, bytes: 0, lines: 0, isEnding: false } : wanted;
    const has = Number(sender.ready.get(0) ?? 0n);
    const known = isOther ? 0 : (this.#state?.lines ?? 0);
    let { bytes } = boot;
    for (let left = has; left > 0; ) {
      const lines = (await linesFrom(this.#heads, bytes)).slice(0, left);
      if (lines.length === 0)
        throw new LabError('LAB_RUN_CORRUPT', `${this.#heads} was cut: the server has ${left} lines more of it`, {
          next: CUT_NEXT,
        });
      bytes += sizeOf(lines);
      left -= lines.length;
    }
    const lines = boot.lines + has;
    if (lines < known)
      log.warn(`${sender.where}: ${known - lines} heads that it had acknowledged are gone: sent again`);
    await this.#note({ format: 1, server, bytes, lines, boot }, Math.max(0, lines - known));
  }

  /** Until nothing is left, and if more is waited for, until the record is to be ended. */
  async #deliver(sender: WireSender): Promise<void> {
    const { isFollowing, signal, recordMs = RECORD_MS } = this.#options;
    for (;;) {
      if (!isFollowing) throwIfAborted(signal, 'sending the heads');
      const state = this.#begun();
      const lines = await linesFrom(this.#heads, state.bytes);
      if (lines.length > 0) await this.#send(sender, lines);
      else if (!isFollowing || signal.aborted) return;
      else if (state.lines > state.boot.lines && ageMs(state.boot) > recordMs) return;
      else await sleep(POLL_MS, undefined, { signal }).catch(() => {});
      if (sender.socket.destroyed) await this.#gone(sender);
    }
  }

  async #send(sender: WireSender, lines: readonly Buffer[]): Promise<void> {
    const state = this.#begun();
    const first = state.lines - state.boot.lines;
    const next = BigInt(first + lines.length);
    const acknowledged = new Promise<void>((resolve) => {
      sender.onAck = (streams) => {
        if ((streams.get(0) ?? 0n) >= next) resolve();
      };
    });
    const bootId = BigInt(`0x${state.boot.id}`);
    await sender.write(...lines.flatMap((line, i) => frame(FRAME.SUBBUF, headSubbuf(line, bootId, BigInt(first + i)))));
    const label = `${lines.length} heads to be acknowledged by ${sender.where}`;
    await this.#within(sender, Promise.race([acknowledged, this.#gone(sender)]), label);
    const [bytes, count] = [state.bytes + sizeOf(lines), state.lines + lines.length];
    await this.#note({ ...state, bytes, lines: count }, lines.length);
  }

  /** The server closes its chain of the record. That it was told is noted first: nothing may follow then. */
  async #end(sender: WireSender): Promise<void> {
    const state = this.#begun();
    const all = BigInt(state.lines - state.boot.lines);
    await this.#note({ ...state, boot: { ...state.boot, isEnding: true } }, 0);
    await sender.send(FRAME.END, packEnds([[0, { next: all, all }]]));
    sender.socket.end();
    const status = await this.#within(sender, sender.closed, `the end of the record at ${sender.where}`);
    if (status !== undefined || !sender.isClosed) await this.#gone(sender);
    await this.#note({ ...state, boot: null }, 0);
  }

  /** @param heads that the server has acknowledged since */
  async #note(state: WitnessState, heads: number): Promise<void> {
    await this.#file.write(state);
    this.#state = state;
    const { lines, bytes, server, boot } = state;
    if (heads === 0) return;
    this.#retryMs = RETRY_MS;
    await this.#options.onAcknowledged({ heads, lines, bytes, server, boot: boot?.id ?? '' });
  }

  #begun(): WitnessState & { readonly boot: Boot } {
    const state = this.#state;
    if (state === undefined || state.boot === null) throw new LabError('LAB_BUG', 'no record of heads has begun');
    return { ...state, boot: state.boot };
  }

  #within<T>(sender: WireSender, work: Promise<T>, label: string): Promise<T> {
    return withDeadline(work, {
      label,
      timeoutMs: ACK_MS,
      code: 'LAB_LINK_NO_CONNECT',
      lastSeen: () => `the server's status is ${statusName(sender.serverStatus)}`,
    });
  }

  async #gone(sender: WireSender): Promise<never> {
    const status = await sender.closed;
    if (status !== undefined) throw new WireRefused(sender.where, status);
    throw new LabError('LAB_LINK_NO_CONNECT', `the server at ${sender.where} has left`, {
      next: 'try again: what it has not acknowledged is sent then',
    });
  }
}

/** Coming again may help. */
function mayPass(error: unknown): boolean {
  if (error instanceof WireRefused) return PASSING.includes(error.status);
  return error instanceof LabError && error.code === 'LAB_LINK_NO_CONNECT';
}

const hex = (id: bigint) => id.toString(16).padStart(16, '0');

function newBoot(): string {
  return hex(BigInt(Date.now()) * 1_000_000n);
}

/** Since a record's first line could be sent. */
function ageMs({ id }: Boot): number {
  return Date.now() - Number(BigInt(`0x${id}`) / 1_000_000n);
}

function headSubbuf(line: Buffer, bootId: bigint, number: bigint): Buffer {
  const record = packRecord(KIND.INFO, Buffer.concat([Buffer.from('head='), line]));
  const times = { mono_ns: process.hrtime.bigint(), real_ns: BigInt(Date.now()) * 1_000_000n };
  return packSubbuf([record], { boot_id: bootId, number, issued: number + 1n, ...times });
}

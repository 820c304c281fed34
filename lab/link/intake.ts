// SPDX-License-Identifier: MIT
/**
 * The data path of one connection, a process of its own (`intake/`): it reads the socket, opens the messages, checks the
 * sub-buffers and appends them to the file that it is lent. What may be appended where, what is acknowledged and why a
 * connection ends is decided here. `intake/intake.h` is the other side, and says the same of the messages.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { type Category, categoryNumber } from '../trace/parts.js';
import type { SegmentEnd, SegmentRoom } from '../trace/segment-writer.js';
import { LabError } from '../util/errors.js';
import { type Inlet, inletOf } from './inlet.js';
import type { CipherState } from './noise.js';

const ORDER = { BEGIN: 1, LEASE: 2, DIGEST: 3, LEAVE: 4 } as const;
const SAID = { APPENDED: 1, FRAME: 2, WANT: 3, DISK: 4, DIGEST: 5, END: 6 } as const;
const ORDER_BYTES = 8;
const BEGIN_BYTES = 72;
const LEASE_BYTES = 16;
const WANTED_BYTES = 16;
const SAID_BYTES = 32;
const STORED_BYTES = 24;
const USED_BYTES = 24;
const NONE = Buffer.alloc(0);

export interface IntakeBegin {
  /** `MODE.*` */
  readonly mode: number;
  readonly cpus: number;
  readonly bootId: bigint;
  /** Undefined: whole sub-buffers come. */
  readonly category?: Category | undefined;
  readonly silenceMs: number;
  /** What is there already, by CPU: whoever goes on with the boot goes on behind that. */
  readonly stored: ReadonlyMap<number, Stored>;
  /** In mode NOISE. */
  readonly cipher: CipherState | undefined;
  /** What came behind the opening. */
  readonly first: Buffer;
}

/** What is there of a stream. */
export interface Stored {
  /** Sub-buffers of smaller numbers. */
  readonly next: bigint;
  /** Records that the machine had recorded of it by then. */
  readonly recorded: bigint;
}

/** A sub-buffer that was put away; `recorded` and `dropped` count records of its stream up to its end. */
export interface Appended {
  readonly cpu: number;
  readonly number: bigint;
  readonly length: number;
  readonly recorded: bigint;
  readonly dropped: bigint;
}

/** What it did, in order. */
export type Said =
  | ({ readonly said: 'appended' } & Appended)
  | { readonly said: 'frame'; readonly type: number; readonly body: Buffer }
  /** It waits for a lease. */
  | { readonly said: 'want'; readonly length: number }
  | { readonly said: 'disk'; readonly isFull: boolean }
  /** It touches no file any more. `status`: what to refuse the driver with, or OK. */
  | { readonly said: 'end'; readonly status: number; readonly why: string };

/** What processes used. */
export interface Used {
  readonly cpuSeconds: number;
  readonly writtenBytes: number;
  /** Of memory, at most. */
  readonly peakBytes: number;
}

let used: Used = { cpuSeconds: 0, writtenBytes: 0, peakBytes: 0 };

/** All intakes of this process that have said `end`: their CPU time and writes together, the memory of the largest. */
export function usedByIntakes(): Used {
  return used;
}

function addUsed(bytes: Buffer): void {
  const [cpuUs = 0, writtenBytes = 0, peakBytes = 0] = [0, 8, 16].map((at) => Number(bytes.readBigUInt64LE(at)));
  used = {
    cpuSeconds: used.cpuSeconds + cpuUs / 1e6,
    writtenBytes: used.writtenBytes + writtenBytes,
    peakBytes: Math.max(used.peakBytes, peakBytes),
  };
}

export class Intake {
  /** Bytes as they came from the socket. */
  bytes = 0;
  readonly #child: ChildProcess;
  readonly #orders: Writable;
  readonly #words: Inlet;
  readonly #gone: Promise<unknown>;
  /** Who waits for a digest, in order; nothing: there is none. */
  readonly #asking: ((digest: Buffer) => void)[] = [];
  #isOver = false;
  /** Nobody hears it any more. */
  #isDeaf = false;

  /** It has said `end`, or is gone. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** @param program path of the compiled `intake/` */
  constructor(program: string, socket: Socket, begin: IntakeBegin) {
    this.#child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit', socket] });
    this.#gone = once(this.#child, 'close').catch(() => {});
    // An error of the start is one of the words' end too.
    this.#child.on('error', () => {});
    this.#orders = this.#child.stdin as Writable;
    this.#words = inletOf(this.#child.stdout as Socket);
    this.#orders.on('error', () => {});
    const { mode, cpus, bootId, category, silenceMs, stored, cipher, first } = begin;
    const head = Buffer.alloc(BEGIN_BYTES);
    for (const [i, value] of [mode, cpus, silenceMs, stored.size].entries()) head.writeUInt32LE(value, 4 * i);
    head.writeBigUInt64LE(bootId, 16);
    head.writeBigUInt64LE(BigInt(cipher?.messages ?? 0), 24);
    cipher?.key.copy(head, 32);
    head.writeUInt32LE(categoryNumber(category), 64);
    const there = Buffer.alloc(STORED_BYTES * stored.size);
    for (const [i, [cpu, { next, recorded }]] of [...stored].entries()) {
      there.writeUInt32LE(cpu, STORED_BYTES * i);
      there.writeBigUInt64LE(next, STORED_BYTES * i + 8);
      there.writeBigUInt64LE(recorded, STORED_BYTES * i + 16);
    }
    this.#order(ORDER.BEGIN, head, there, first);
  }

  #order(type: number, ...parts: readonly Buffer[]): void {
    const order = Buffer.alloc(ORDER_BYTES);
    order.writeUInt32LE(type);
    order.writeUInt32LE(
      parts.reduce((sum, part) => sum + part.length, 0),
      4,
    );
    if (this.#orders.writable) this.#orders.write(Buffer.concat([order, ...parts]));
  }

  /** It may append there from now on, and has no other file. */
  lease({ path, position, limit }: SegmentRoom): void {
    const head = Buffer.alloc(LEASE_BYTES);
    head.writeBigUInt64LE(BigInt(position));
    head.writeBigUInt64LE(BigInt(limit), 8);
    this.#order(ORDER.LEASE, head, Buffer.from(path));
  }

  /** The digest (`sha256x16.ts`) of a file up to `end`, and of `extra` behind that; undefined if it has not appended so far to it. */
  async digest({ path, end }: SegmentEnd, extra: Buffer): Promise<Buffer | undefined> {
    const name = Buffer.from(path);
    const head = Buffer.alloc(WANTED_BYTES);
    head.writeBigUInt64LE(BigInt(end));
    head.writeUInt32LE(name.length, 8);
    if (this.#isDeaf) return undefined;
    const answer = new Promise<Buffer>((resolve) => this.#asking.push(resolve));
    this.#order(ORDER.DIGEST, head, name, extra);
    const digest = await answer;
    return digest.length === 0 ? undefined : digest;
  }

  /** `end` follows, soon: after what it is writing. */
  leave(): void {
    this.#order(ORDER.LEAVE);
  }

  /** Settles when the process is gone. */
  async gone(): Promise<void> {
    await this.#gone;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
    this.#words.socket.destroy();
  }

  /** Tells what it says, one at a time, until it has said `end`. */
  async listen(hear: (said: Said) => Promise<void>): Promise<void> {
    let chunks: Buffer[] = [];
    let there = 0;
    let wanted = SAID_BYTES;
    try {
      for (;;) {
        const { value: chunk } = await this.#words.chunks.next();
        if (chunk === undefined) break;
        // The next chunk takes the place of this one.
        chunks.push(Buffer.from(chunk));
        there += chunk.length;
        if (there < wanted) continue;
        let rest: Buffer = Buffer.concat(chunks);
        for (;;) {
          const end = rest.length < SAID_BYTES ? SAID_BYTES : SAID_BYTES + rest.readUInt32LE(4);
          if (rest.length < end) {
            [chunks, there, wanted] = [[rest], rest.length, end];
            break;
          }
          const said = this.#parse(rest.subarray(0, end));
          rest = rest.subarray(end);
          if (said === undefined) continue;
          this.#isOver = said.said === 'end';
          await hear(said);
          if (this.#isOver) return;
        }
      }
      await this.#gone;
      const { exitCode, signalCode } = this.#child;
      throw new LabError('LAB_BUG', `the intake ended without a word (${exitCode ?? signalCode ?? 'not started'})`);
    } finally {
      this.#isDeaf = true;
      this.#words.socket.destroy();
      for (const answer of this.#asking.splice(0)) answer(NONE);
    }
  }

  /** Undefined: it was the answer to somebody who waits. */
  #parse(bytes: Buffer): Said | undefined {
    const type = bytes.readUInt32LE(0);
    this.bytes = Number(bytes.readBigUInt64LE(8));
    const a = bytes.readBigUInt64LE(16);
    const body = bytes.subarray(SAID_BYTES);
    // The CPU is in the upper half.
    const length = bytes.readUInt32LE(24);
    switch (type) {
      case SAID.APPENDED:
        return {
          said: 'appended',
          cpu: bytes.readUInt32LE(28),
          number: a,
          length,
          recorded: body.readBigUInt64LE(),
          dropped: body.readBigUInt64LE(8),
        };
      case SAID.FRAME:
        return { said: 'frame', type: Number(a), body };
      case SAID.WANT:
        return { said: 'want', length };
      case SAID.DISK:
        return { said: 'disk', isFull: a !== 0n };
      case SAID.END:
        addUsed(body);
        return { said: 'end', status: Number(a), why: body.toString('utf8', USED_BYTES) };
      case SAID.DIGEST:
        this.#asking.shift()?.(Buffer.from(body));
        return undefined;
      default:
        throw new LabError('LAB_BUG', `the intake said ${type}`);
    }
  }
}

// SPDX-License-Identifier: MIT
/**
 * The trace port's receiver: bytes in, whole sub-buffers to the segments.
 *
 * Back-pressure: the socket is read only when the last append is done, so a
 * slow disk fills the socket, then QEMU's port, then the guest's buffers, and
 * there the guest waits or declares a loss. Memory stays below one sub-buffer
 * (1 MiB) and one chunk (64 KiB). Record bodies are never looked at.
 */
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import path from 'node:path';
import { FrameAssembler } from '../trace/frames.js';
import type { SegmentWriter } from '../trace/segment-writer.js';
import { type Deferred, deferred } from '../util/deadline.js';
import { type ErrorCode, ioError, LabError } from '../util/errors.js';

/** The file beside the segments that keeps the bytes of a sub-buffer that never became whole. */
export const TORN_TAIL_FILE = 'torn-tail.bin';

export interface TraceTotals {
  readonly segments: number;
  /** Bytes of whole sub-buffers. */
  readonly bytes: number;
  readonly subbufs: number;
  /** Bytes of an unfinished sub-buffer at the very end. */
  readonly tornBytes: number;
  /** Largest sequence number that arrived; 0n before the first effect. */
  readonly lastSeq: bigint;
}

/** Awaited before each chunk of that many bytes is taken: a slow host. */
export type TracePace = (bytes: number) => Promise<void>;

const BAD_CODES = {
  torn: 'LAB_LINK_PROTOCOL',
  foreign: 'LAB_SEGMENT_FOREIGN',
  abi: 'LAB_ABI_MISMATCH',
  corrupt: 'LAB_SEGMENT_CORRUPT',
} as const satisfies Record<string, ErrorCode>;

export class TraceReceiver {
  /**
   * Settles when the port closed and the segments are sealed. Rejects at once
   * on a bad frame or a failed write: the caller then ends the guest, because
   * nobody reads the port any more.
   */
  readonly done: Promise<TraceTotals>;
  readonly #writer: SegmentWriter;
  readonly #folder: string;
  readonly #pace: TracePace | undefined;
  readonly #frames = new FrameAssembler();
  #received = 0;
  #more: Deferred<'more'> = deferred();
  #tornBytes = 0;
  #lastSeq = 0n;

  constructor(socket: Socket, writer: SegmentWriter, folder: string, pace?: TracePace) {
    this.#writer = writer;
    this.#folder = folder;
    this.#pace = pace;
    this.done = this.#run(socket);
    this.done.catch(() => {});
  }

  get totals(): TraceTotals {
    return { ...this.#writer.totals, tornBytes: this.#tornBytes, lastSeq: this.#lastSeq };
  }

  /** All bytes so far, whole sub-buffers or not: grows while the guest sends. */
  get receivedBytes(): number {
    return this.#received;
  }

  /** Settles once that many bytes came, or the port closed. */
  async received(bytes: bigint): Promise<void> {
    while (BigInt(this.#received) < bytes) {
      const over = await Promise.race([this.#more.promise, this.done.then(() => 'over')]);
      if (over === 'over') return;
    }
  }

  async #run(socket: Socket): Promise<TraceTotals> {
    try {
      await this.#read(socket);
      const end = this.#frames.end();
      if (end.type === 'torn') await this.#keepTail(this.#frames.unfinished);
    } catch (error) {
      // What arrived whole is kept and sealed; after a failed write, sealing is left out by the writer.
      await this.#writer.close().catch(() => {});
      throw error;
    } finally {
      socket.destroy();
    }
    await this.#writer.close();
    return this.totals;
  }

  async #read(socket: Socket): Promise<void> {
    const chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
    for (;;) {
      let next: IteratorResult<Buffer>;
      try {
        next = await chunks.next();
      } catch {
        // A reset instead of an end: QEMU was killed. What came before it is as good as ever.
        return;
      }
      if (next.done === true) return;
      await this.#pace?.(next.value.length);
      await this.#take(next.value);
    }
  }

  async #take(chunk: Buffer): Promise<void> {
    this.#received += chunk.length;
    this.#more.resolve('more');
    this.#more = deferred();
    for (const event of this.#frames.push(chunk)) {
      if (event.type === 'bad') {
        throw new LabError(
          BAD_CODES[event.problem.kind],
          `trace port: at byte ${event.position} of the stream is no good sub-buffer: ${event.problem.detail}`,
          event.problem.kind === 'abi'
            ? { next: 'the kernel is of another version than this program: ./lemona build kernel' }
            : {},
        );
      }
      await this.#writer.append(event.bytes);
      if (event.header.seqLast > this.#lastSeq) this.#lastSeq = event.header.seqLast;
    }
  }

  async #keepTail(tail: Buffer): Promise<void> {
    this.#tornBytes = tail.length;
    const file = path.join(this.#folder, TORN_TAIL_FILE);
    try {
      await writeFile(file, tail);
    } catch (error) {
      throw ioError(`keeping the torn tail in ${file}`, error);
    }
  }
}

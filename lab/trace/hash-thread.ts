// SPDX-License-Identifier: MIT
/**
 * A thread that hashes, for whoever has a fast sender and another core. Bytes are copied into a ring that both threads
 * see: elements of 16 bytes (i32 op, i32 id, i32 length, zero) with their data behind them, padded to 16, none of
 * them around the ring's end. `state` counts the bytes written and read, modulo 2^32.
 */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { LabError, messageOf } from '../util/errors.js';
import { LocalHash, type RunningHash } from './running-hash.js';

const WORKER = path.join(import.meta.dirname, '../trace/hash-worker.cjs');

const RING_BYTES = 1024 * 1024;
/** So that one side works on a piece while the other has the next. */
const PIECE_BYTES = 128 * 1024;
const HEAD_BYTES = 16;
const OPS = { UPDATE: 1, DIGEST: 2, LEAVE: 3 } as const;
const [WRITTEN, READ] = [0, 1] as const;
const NONE = Buffer.alloc(0);

interface Answer {
  readonly id: number;
  readonly digest: Uint8Array;
}

interface Asking {
  readonly resolve: (digest: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class HashThread {
  readonly #state = new Int32Array(new SharedArrayBuffer(8));
  readonly #ring = Buffer.from(new SharedArrayBuffer(RING_BYTES));
  readonly #heads = new Int32Array(this.#ring.buffer);
  readonly #worker: Worker;
  /** Who waits for a digest; of one hash in order. */
  readonly #asking = new Map<number, Asking[]>();
  #ids = 0;
  #failure: LabError | undefined;

  /** Told of a failure, hashes that are begun after it are of this thread. */
  constructor(onFailure: (error: LabError) => void) {
    this.#worker = new Worker(WORKER, {
      workerData: { state: this.#state, ring: this.#ring, ops: OPS },
      // Not the loader that this thread may have.
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
    });
    this.#worker.unref();
    this.#worker.on('message', ({ id, digest }: Answer) => this.#asking.get(id)?.shift()?.resolve(Buffer.from(digest)));
    const onEnd = (cause?: unknown) => {
      if (this.#failure !== undefined) return;
      const failure = new LabError('LAB_BUG', `the hashing thread ended: ${messageOf(cause)}`, { cause });
      this.#fail(failure);
      onFailure(failure);
    };
    this.#worker.on('error', onEnd).on('exit', () => onEnd('without a word'));
  }

  /** A hash of nothing yet. */
  begin(): RunningHash {
    if (this.#failure !== undefined) return new LocalHash();
    const id = this.#ids++;
    return {
      update: (bytes) => this.#put(OPS.UPDATE, id, bytes),
      digest: async () => {
        const digest = new Promise<Buffer>((resolve, reject) => {
          const list = this.#asking.get(id) ?? [];
          this.#asking.set(id, [...list, { resolve, reject }]);
        });
        // Told by the put as well, which is waited for first.
        digest.catch(() => {});
        await this.#put(OPS.DIGEST, id, NONE);
        return digest;
      },
      leave: () => {
        this.#asking.delete(id);
        void this.#put(OPS.LEAVE, id, NONE).catch(() => {});
      },
    };
  }

  async close(): Promise<void> {
    this.#fail(new LabError('LAB_BUG', 'the hashing thread was ended'));
    await this.#worker.terminate();
  }

  #fail(failure: LabError): void {
    this.#failure ??= failure;
    for (const { reject } of [...this.#asking.values()].flat()) reject(failure);
    this.#asking.clear();
    // Whoever waits for room looks again.
    Atomics.notify(this.#state, READ);
  }

  /** In pieces, as there is room; puts of several hashes may take turns. */
  async #put(op: number, id: number, bytes: Buffer): Promise<void> {
    const [state, ring] = [this.#state, this.#ring];
    for (let done = 0; ; ) {
      if (this.#failure !== undefined) throw this.#failure;
      const [written, read] = [Atomics.load(state, WRITTEN), Atomics.load(state, READ)];
      const at = (written >>> 0) % RING_BYTES;
      const wanted = Math.min(bytes.length - done, PIECE_BYTES);
      if (RING_BYTES - ((written - read) >>> 0) < HEAD_BYTES + padded(wanted)) {
        await Atomics.waitAsync(state, READ, read).value;
        continue;
      }
      const piece = bytes.subarray(done, done + Math.min(wanted, RING_BYTES - at - HEAD_BYTES));
      this.#heads.set([op, id, piece.length], at / Int32Array.BYTES_PER_ELEMENT);
      piece.copy(ring, at + HEAD_BYTES);
      Atomics.store(state, WRITTEN, (written + HEAD_BYTES + padded(piece.length)) | 0);
      Atomics.notify(state, WRITTEN);
      done += piece.length;
      if (done === bytes.length) return;
    }
  }
}

function padded(bytes: number): number {
  return Math.ceil(bytes / HEAD_BYTES) * HEAD_BYTES;
}

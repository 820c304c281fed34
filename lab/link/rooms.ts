// SPDX-License-Identifier: MIT
/**
 * Memory for frames that come in pieces, of all connections together: a hundred senders of a mebibyte each must not
 * need a hundred mebibytes. Who finds no room waits, in line, and reads no further meanwhile. Rooms are used again, so
 * that a fast sender makes no garbage.
 */
const SMALLEST_BYTES = 16 * 1024;

interface Waiting {
  readonly bytes: number;
  readonly take: (memory: ArrayBuffer) => void;
}

export class Rooms {
  readonly #limitBytes: number;
  /** By size; each is given out again before a new one is made. */
  readonly #free = new Map<number, ArrayBuffer[]>();
  readonly #waiting: Waiting[] = [];
  #usedBytes = 0;
  #freeBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Rejects when the signal is given before there is room. */
  async take(bytes: number, signal: AbortSignal): Promise<Buffer> {
    const size = sizeFor(bytes);
    const hasRoom = this.#waiting.length === 0 && this.#usedBytes + size <= this.#limitBytes;
    const memory = hasRoom ? this.#give(size) : await this.#wait(size, signal);
    return Buffer.from(memory, 0, bytes);
  }

  #wait(bytes: number, signal: AbortSignal): Promise<ArrayBuffer> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(new Error('ended while it waited for memory'));
        this.#serve();
      };
      const waiting: Waiting = {
        bytes,
        take: (memory) => {
          signal.removeEventListener('abort', onAbort);
          resolve(memory);
        },
      };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives a room back; nobody may look at it any more. */
  giveBack(room: Buffer): void {
    const memory = room.buffer as ArrayBuffer;
    this.#usedBytes -= memory.byteLength;
    this.#freeBytes += memory.byteLength;
    const list = this.#free.get(memory.byteLength);
    if (list) list.push(memory);
    else this.#free.set(memory.byteLength, [memory]);
    this.#serve();
  }

  #serve(): void {
    for (
      let next = this.#waiting[0];
      next && this.#usedBytes + next.bytes <= this.#limitBytes;
      next = this.#waiting[0]
    ) {
      this.#waiting.shift();
      next.take(this.#give(next.bytes));
    }
  }

  #give(size: number): ArrayBuffer {
    this.#usedBytes += size;
    const again = this.#free.get(size)?.pop();
    if (again !== undefined) {
      this.#freeBytes -= size;
      return again;
    }
    // Free ones of other sizes count too: they go before a new one is made.
    for (const [other, list] of this.#free) {
      while (this.#usedBytes + this.#freeBytes > this.#limitBytes && list.pop() !== undefined) this.#freeBytes -= other;
    }
    return new ArrayBuffer(size);
  }
}

/** The next power of two: few sizes, so that most rooms fit the next one who asks. */
function sizeFor(bytes: number): number {
  let size = SMALLEST_BYTES;
  while (size < bytes) size *= 2;
  return size;
}

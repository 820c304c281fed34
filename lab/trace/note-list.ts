// SPDX-License-Identifier: MIT
/**
 * LOST notes in rows of 56 bytes, because there may be hundreds of thousands:
 *
 *   0  u64  first, last number, inode, position, length        40  u32  generation, device, what, effects
 */
import type { LostNote } from './lost.js';

/** What a list of notes can be asked; an array can as well. */
export interface Notes extends Iterable<LostNote> {
  readonly length: number;
  at(place: number): LostNote | undefined;
}

const ROW_BYTES = 56;
const BLOCK_ROWS = 4096;

export class NoteList implements Notes {
  readonly #blocks: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(note: LostNote): void {
    const row = this.#length % BLOCK_ROWS;
    if (row === 0) this.#blocks.push(Buffer.alloc(BLOCK_ROWS * ROW_BYTES));
    const block = this.#blocks.at(-1);
    let off = row * ROW_BYTES;
    for (const value of [note.seqFirst, note.seqLast, note.ino, note.pos, note.len])
      off = block?.writeBigUInt64LE(value, off) ?? off;
    for (const value of [note.gen, note.dev, note.what, note.effects]) off = block?.writeUInt32LE(value, off) ?? off;
    this.#length++;
  }

  at(place: number): LostNote | undefined {
    const block = place < this.#length ? this.#blocks[Math.floor(place / BLOCK_ROWS)] : undefined;
    if (block === undefined) return undefined;
    const off = (place % BLOCK_ROWS) * ROW_BYTES;
    return {
      seqFirst: block.readBigUInt64LE(off),
      seqLast: block.readBigUInt64LE(off + 8),
      ino: block.readBigUInt64LE(off + 16),
      gen: block.readUInt32LE(off + 40),
      dev: block.readUInt32LE(off + 44),
      what: block.readUInt32LE(off + 48),
      effects: block.readUInt32LE(off + 52),
      pos: block.readBigUInt64LE(off + 24),
      len: block.readBigUInt64LE(off + 32),
    };
  }

  *[Symbol.iterator](): Generator<LostNote, void, void> {
    for (let i = 0; i < this.#length; i++) {
      const note = this.at(i);
      if (note !== undefined) yield note;
    }
  }
}

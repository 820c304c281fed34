// SPDX-License-Identifier: MIT
/** Where a record is, and what its header says. One object stands for one record after the other. */
import { AT, REC_SIZE_MASK } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import type { Cursor } from './ordered.js';
import type { Rows } from './rows.js';

const { size_kind: SIZE_KIND, code: CODE, flags: FLAGS, tid: TID, dt: DT } = AT.lemona_rec;

/** Records that are looked at together, by sub-buffer and offset. Its memory is used again: pushing is most of its work. */
export class Stretch {
  readonly cursors: (Cursor | undefined)[];
  readonly offs: Int32Array;
  length = 0;

  constructor(limit: number) {
    this.cursors = Array.from({ length: limit }, () => undefined);
    this.offs = new Int32Array(limit);
  }

  get isFull(): boolean {
    return this.length === this.offs.length;
  }

  push(cursor: Cursor): void {
    this.cursors[this.length] = cursor;
    this.offs[this.length++] = cursor.off;
  }

  clear(): void {
    // Sub-buffers hang on them.
    this.cursors.fill(undefined, 0, this.length);
    this.length = 0;
  }
}

export class Spot {
  cursor: Cursor;
  buf: Buffer;
  off = 0;
  size = 0;
  kind = 0;
  code = 0;
  flags = 0;
  tid = 0;

  constructor(cursor: Cursor) {
    this.cursor = cursor;
    this.buf = cursor.bytes;
  }

  /** Takes the record at an offset. */
  go(cursor: Cursor, off: number): void {
    const buf = cursor.bytes;
    const word = buf.readUInt32LE(off + SIZE_KIND);
    this.cursor = cursor;
    this.buf = buf;
    this.off = off;
    this.size = word & REC_SIZE_MASK;
    this.kind = word >>> REC_KIND_SHIFT;
    this.code = buf.readUInt16LE(off + CODE);
    this.flags = buf.readUInt16LE(off + FLAGS);
    this.tid = buf.readUInt32LE(off + TID);
  }

  get end(): number {
    return this.off + this.size;
  }

  /** Monotonic clock, ns since the merge's beginning. */
  get monoAt(): number {
    return this.cursor.monoNs + this.buf.readUInt32LE(this.off + DT);
  }

  /** Wall clock, ns since the store's time base. */
  get realAt(): number | bigint {
    return this.cursor.realAt(this.off);
  }

  /** Puts the wall clock into a row. */
  putTime(rows: Rows, row: number, column: number): void {
    const { realNs } = this.cursor;
    if (typeof realNs === 'number') rows.set(row, column, realNs + this.buf.readUInt32LE(this.off + DT));
    else rows.setAny(row, column, this.realAt);
  }
}

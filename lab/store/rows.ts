// SPDX-License-Identifier: MIT
/**
 * Rows of integers for the tables of which there are very many, as the extension's `lemona_rows` reads them: for each
 * row 8 bytes whose bit N says that column N is not NULL, then 8 bytes a column. Numbers are written where they will be
 * read: an array of values costs an object for every number above 2^31.
 */
import { type TableName, tableOf } from './schema.js';
import type { TextRef } from './store.js';

const TWO_32 = 0x1_0000_0000;
/** Rows there is room for at first. */
const FIRST_ROWS = 1024;

/** Where columns of a table stand. */
export function placesOf<const N extends readonly string[]>(
  table: TableName,
  names: N,
): { readonly [K in keyof N]: number } {
  const { columns } = tableOf(table);
  return names.map((name) => {
    const at = columns.findIndex((column) => column.name === name);
    if (at < 0) throw new Error(`schema.ts: ${table} has no column ${name}`);
    return at;
  }) as { readonly [K in keyof N]: number };
}

export class Rows {
  readonly table: TableName;
  readonly columns: readonly string[];
  /** 32-bit words of a row. */
  readonly #stride: number;
  #words: Int32Array;
  #count = 0;
  /** Row, column and text of those that have no number yet. */
  #unnumbered: (number | TextRef)[] = [];

  constructor(table: TableName) {
    this.table = table;
    this.columns = tableOf(table).columns.map(({ name }) => name);
    this.#stride = 2 * (this.columns.length + 1);
    this.#words = new Int32Array(FIRST_ROWS * this.#stride);
  }

  get count(): number {
    return this.#count;
  }

  /** A new row, all NULL; its number. */
  add(): number {
    const end = (this.#count + 1) * this.#stride;
    if (end > this.#words.length) {
      const more = new Int32Array(2 * this.#words.length);
      more.set(this.#words);
      this.#words = more;
    }
    this.#words[this.#count * this.#stride] = 0;
    this.#words[this.#count * this.#stride + 1] = 0;
    return this.#count++;
  }

  has(row: number, column: number): boolean {
    return (((this.#words[row * this.#stride] ?? 0) >>> column) & 1) === 1;
  }

  set(row: number, column: number, value: number): void {
    const at = row * this.#stride;
    const words = this.#words;
    words[at] = (words[at] as number) | (1 << column);
    words[at + 2 * column + 2] = value;
    // Most are small, and a division costs more than all else here.
    words[at + 2 * column + 3] = (value | 0) === value ? value >> 31 : Math.floor(value / TWO_32);
  }

  /** A number that may be NULL, or above 2^53. */
  setAny(row: number, column: number, value: number | bigint | null): void {
    if (value === null) return;
    if (typeof value === 'number') {
      this.set(row, column, value);
      return;
    }
    this.set(row, column, Number(BigInt.asIntN(32, value)));
    this.#words[row * this.#stride + 2 * column + 3] = Number(BigInt.asIntN(32, value >> 32n));
  }

  /** 8 bytes as they are. */
  copy(row: number, column: number, buf: Buffer, off: number): void {
    const at = row * this.#stride;
    const words = this.#words;
    words[at] = (words[at] as number) | (1 << column);
    words[at + 2 * column + 2] = buf.readInt32LE(off);
    words[at + 2 * column + 3] = buf.readInt32LE(off + 4);
  }

  setText(row: number, column: number, text: TextRef | null): void {
    if (text === null) return;
    this.set(row, column, text.id);
    if (text.id === 0) this.#unnumbered.push(row, column, text);
  }

  /** The rows, whose texts must be numbered; a view that the next row changes. Empty afterwards. */
  take(): Buffer {
    const unnumbered = this.#unnumbered;
    for (let i = 0; i < unnumbered.length; i += 3)
      this.set(unnumbered[i] as number, unnumbered[i + 1] as number, (unnumbered[i + 2] as TextRef).id);
    this.#unnumbered = [];
    const bytes = Buffer.from(this.#words.buffer, 0, 4 * this.#count * this.#stride);
    this.#count = 0;
    return bytes;
  }
}

/** Values of a row in such bytes. */
export function* rowsOf(bytes: Buffer, columns: number): Generator<(bigint | null)[], void, void> {
  const stride = 8 * (columns + 1);
  for (let off = 0; off < bytes.length; off += stride) {
    const mask = bytes.readUInt32LE(off);
    yield Array.from({ length: columns }, (_, i) =>
      (mask >>> i) & 1 ? bytes.readBigInt64LE(off + 8 * (i + 1)) : null,
    );
  }
}

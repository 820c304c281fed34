// SPDX-License-Identifier: MIT
/** What the inserter wants of a database. Two things are one: SQLite and PostgreSQL. */
import type { Rows } from './rows.js';
import { type TableName, tableOf } from './schema.js';

/** One of `texts`: its number is known when the batch it came up in is written. */
export interface TextRef {
  id: number;
}

/** A number of 64 bits is a bigint where a double would round it. */
export type Value = number | bigint | string | null | TextRef;

/** Rows that are collected: their values one after the other. */
export class Batch {
  readonly table: TableName;
  readonly columns: readonly string[];
  values: Value[] = [];

  /** @param columns all of the table's, unless told; for an update the first one is the key */
  constructor(table: TableName, columns: readonly string[] = tableOf(table).columns.map((c) => c.name)) {
    this.table = table;
    this.columns = columns;
  }

  get rows(): number {
    return this.values.length / this.columns.length;
  }

  /** The values with numbers for texts; the batch is empty afterwards. */
  take(): (number | bigint | string | null)[] {
    const { values } = this;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (typeof value === 'object' && value !== null) values[i] = value.id;
    }
    this.values = [];
    return values as (number | bigint | string | null)[];
  }
}

/** A name that a file has. */
export interface StoredName {
  readonly id: number;
  readonly file: number;
  readonly parent: number | null;
  readonly path: string;
}

/** A name below a directory. */
export interface NameBelow extends StoredName {
  /** Number of its inode. */
  readonly ino: string;
}

/** A row with every value as text. What may be above 2^53 has to be cast to text by the query: SQLite's driver rounds it. */
export type TextRow = Readonly<Record<string, string | null>>;

export interface Store {
  /** For messages. */
  readonly label: string;
  /** Begins a transaction. @returns whether another process has written since the last one */
  begin(): Promise<boolean>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  /** What times in batches are offsets from, ns since 1970. */
  timeBase: bigint;
  /** That were inserted since it was opened, but for texts and files, of which it tells itself which are new. */
  readonly rows: number;
  insert(batch: Batch): Promise<void>;
  insertRows(rows: Rows): Promise<void>;
  /** Changes rows that are there; the first column says which. */
  update(batch: Batch): Promise<void>;
  /** Numbers of texts, new ones in the order given; they can be searched for. */
  internTexts(texts: readonly string[]): Promise<number[]>;
  /** Numbers of inodes, new ones in the order given; `keys` holds device, inode, generation of each. */
  internFiles(trace: number, keys: readonly (number | bigint)[]): Promise<number[]>;
  /** Names that these files have; of one without a name the last that it had, with a negative id. */
  namesOf(files: readonly number[]): Promise<StoredName[]>;
  /** Names below a directory, however deep, by their numbers. */
  namesBelow(directory: number): Promise<NameBelow[]>;
  /** A query with parameters as `sql.ts` writes them. */
  select(template: string, bound?: readonly (string | number)[]): Promise<TextRow[]>;
  clearOpenCalls(trace: number): Promise<void>;
  /** Makes one of a table's indexes before the first load is done. */
  makeIndex(table: TableName, columns: readonly string[]): Promise<void>;
  /** Makes the indexes that loading does not need, and readies the database for readers. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

// SPDX-License-Identifier: MIT
/**
 * The same schema in PostgreSQL, through its own driver. Rows and look-ups go as one array for each column, whose values
 * are text, so that no number passes through a double.
 */
import type pg from 'pg';
import { LabError } from '../util/errors.js';
import { connect, type PostgresCell } from './postgres-db.js';
import { type Rows, rowsOf } from './rows.js';
import { checkVersion, indexOf, SCHEMA_VERSION, TABLES, type TableName, tableOf } from './schema.js';
import { createIndex, createTable, fillIn, searchIndex } from './sql.js';
import type { Batch, NameBelow, Store, StoredName, TextRow } from './store.js';
import { VIEWS } from './views.js';

/** Who holds this lock loads into the database: "LMNA". */
const LOCK = 0x4c4d4e41;

const INTERN_TEXTS = `INSERT INTO texts SELECT (SELECT COALESCE(max(id), 0) FROM texts) + row_number() OVER (ORDER BY g.n), g.c
 FROM unnest($1::text[]) WITH ORDINALITY g(c, n)
 WHERE NOT EXISTS (SELECT 1 FROM texts t WHERE md5(t.text) = md5(g.c) AND t.text = g.c)`;
const TEXT_IDS = `SELECT t.id FROM unnest($1::text[]) WITH ORDINALITY g(c, n)
 JOIN texts t ON md5(t.text) = md5(g.c) AND t.text = g.c ORDER BY g.n`;
const KEYS = 'unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY g(dev, ino, gen, n)';
const SAME_FILE = 'f.trace = $4::bigint AND f.ino = g.ino AND f.gen = g.gen AND f.dev = g.dev';
const INTERN_FILES = `INSERT INTO files SELECT (SELECT COALESCE(max(id), 0) FROM files) + row_number() OVER (ORDER BY g.n), $4::bigint, g.dev, g.ino, g.gen
 FROM ${KEYS} WHERE NOT EXISTS (SELECT 1 FROM files f WHERE ${SAME_FILE})`;
const FILE_IDS = `SELECT f.id FROM ${KEYS} JOIN files f ON ${SAME_FILE} ORDER BY g.n`;
const NAMES_OF = `SELECT n.id, n.file, n.parent, t.text AS path FROM unnest($1::bigint[]) g(file) JOIN paths n ON n.file = g.file
 JOIN texts t ON t.id = n.path WHERE n.until_seq IS NULL
 UNION ALL SELECT -n.id, n.file, n.parent, t.text FROM unnest($1::bigint[]) g(file) JOIN paths n ON n.id =
 (SELECT l.id FROM paths l WHERE l.file = g.file ORDER BY l.until_seq DESC, l.id DESC LIMIT 1) JOIN texts t ON t.id = n.path
 WHERE NOT EXISTS (SELECT 1 FROM paths o WHERE o.file = g.file AND o.until_seq IS NULL) ORDER BY 1`;
const NAMES_BELOW = `WITH RECURSIVE below(id, file) AS (SELECT id, file FROM paths WHERE parent = $1 AND until_seq IS NULL
 UNION SELECT p.id, p.file FROM below b JOIN paths p ON p.parent = b.file AND p.until_seq IS NULL)
 SELECT n.id, n.file, n.parent, t.text AS path, f.ino
 FROM below b JOIN paths n ON n.id = b.id JOIN texts t ON t.id = n.path JOIN files f ON f.id = n.file ORDER BY n.id`;

export class PostgresStore implements Store {
  readonly label: string;
  timeBase = 0n;
  rows = 0;
  readonly #client: pg.Client;

  private constructor(client: pg.Client, label: string) {
    this.#client = client;
    this.label = label;
  }

  /** Connects for loading; makes the schema if it is not there. */
  static async open(url: string): Promise<PostgresStore> {
    const client = await connect(url);
    try {
      const label = `PostgreSQL database ${client.database ?? ''}`;
      const { rows } = await client.query(`SELECT pg_try_advisory_lock(${LOCK}) AS mine`);
      if (rows[0]?.mine !== 't')
        throw new LabError('LAB_RUN_STATE', `${label}: another inserter loads into it`, { next: 'wait for its end' });
      const store = new PostgresStore(client, label);
      await store.#prepare();
      return store;
    } catch (error) {
      await client.end();
      throw error;
    }
  }

  async #prepare(): Promise<void> {
    await this.begin();
    await this.#client.query('CREATE TABLE IF NOT EXISTS lemona_schema(version bigint PRIMARY KEY)');
    const [row] = await this.select('SELECT version FROM lemona_schema');
    if (row === undefined) {
      for (const { name } of TABLES) {
        const table = tableOf(name);
        await this.#client.query(createTable(table, 'postgres'));
        for (const index of table.indexes)
          if (index.isWorking === true) await this.#client.query(createIndex(table, index, 'postgres'));
      }
      for (const { name, sql } of VIEWS) await this.#client.query(`CREATE VIEW ${name} AS ${fillIn(sql, 'postgres')}`);
      await this.#client.query(`INSERT INTO lemona_schema VALUES (${SCHEMA_VERSION})`);
    } else checkVersion(this.label, Number(row.version));
    await this.commit();
  }

  /** Another inserter is not let in. */
  async begin(): Promise<boolean> {
    await this.#client.query('BEGIN');
    return false;
  }

  async commit(): Promise<void> {
    await this.#client.query('COMMIT');
  }

  async rollback(): Promise<void> {
    await this.#client.query('ROLLBACK');
  }

  async insert(batch: Batch): Promise<void> {
    this.rows += batch.rows;
    if (batch.rows > 0) await this.#insert(batch.table, transposed(batch.take(), batch.columns.length));
  }

  async insertRows(rows: Rows): Promise<void> {
    this.rows += rows.count;
    const width = rows.columns.length;
    const columns: PostgresCell[][] = Array.from({ length: width }, () => []);
    for (const row of rowsOf(rows.take(), width))
      for (const [i, value] of row.entries()) columns[i]?.push(textOf(value));
    if (columns[0]?.length !== 0) await this.#insert(rows.table, columns);
  }

  async #insert(name: TableName, columns: PostgresCell[][]): Promise<void> {
    const { columns: defs } = tableOf(name);
    const values = defs.map(({ type }, i) => (type === 'time' ? `c${i} + ${this.timeBase}` : `c${i}`));
    await this.#client.query(
      `INSERT INTO ${name} SELECT ${values.join(', ')} FROM ${source(name, names(name))}`,
      columns,
    );
  }

  async update(batch: Batch): Promise<void> {
    if (batch.rows === 0) return;
    const { table, columns } = batch;
    const types = new Map(tableOf(table).columns.map((column) => [column.name, column.type]));
    const sets = columns
      .map((column, i) => `${column} = c${i}${types.get(column) === 'time' ? ` + ${this.timeBase}` : ''}`)
      .slice(1);
    await this.#client.query(
      `UPDATE ${table} SET ${sets.join(', ')} FROM ${source(table, columns)} WHERE ${table}.${columns[0]} = c0`,
      transposed(batch.take(), columns.length),
    );
  }

  async internTexts(texts: readonly string[]): Promise<number[]> {
    await this.#client.query(INTERN_TEXTS, [texts]);
    return this.#ids(TEXT_IDS, [texts]);
  }

  async internFiles(trace: number, keys: readonly (number | bigint)[]): Promise<number[]> {
    const columns = [...transposed(keys, 3), trace];
    await this.#client.query(INTERN_FILES, columns);
    return this.#ids(FILE_IDS, columns);
  }

  async #ids(sql: string, bound: readonly unknown[]): Promise<number[]> {
    const { rows } = await this.#client.query<{ id: string }>(sql, [...bound]);
    return rows.map(({ id }) => Number(id));
  }

  async namesOf(files: readonly number[]): Promise<StoredName[]> {
    const { rows } = await this.#client.query<TextRow>(NAMES_OF, [files]);
    return rows.map(nameOf);
  }

  async namesBelow(directory: number): Promise<NameBelow[]> {
    const { rows } = await this.#client.query<TextRow>(NAMES_BELOW, [directory]);
    return rows.map((row) => ({ ...nameOf(row), ino: String(row.ino) }));
  }

  async clearOpenCalls(trace: number): Promise<void> {
    await this.#client.query('DELETE FROM open_calls WHERE trace = $1', [trace]);
  }

  async select(template: string, bound: readonly (string | number)[] = []): Promise<TextRow[]> {
    return (await this.#client.query<TextRow>(fillIn(template, 'postgres'), [...bound])).rows;
  }

  async makeIndex(table: TableName, columns: readonly string[]): Promise<void> {
    await this.#client.query(createIndex(tableOf(table), indexOf(table, columns), 'postgres'));
  }

  async finish(): Promise<void> {
    for (const { name } of TABLES)
      for (const index of tableOf(name).indexes)
        await this.#client.query(createIndex(tableOf(name), index, 'postgres'));
    await this.#client.query(searchIndex());
    await this.#client.query('ANALYZE');
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}

function names(table: TableName): string[] {
  return tableOf(table).columns.map(({ name }) => name);
}

/** The arrays of a statement as a table of columns c0, c1, … */
function source(table: TableName, columns: readonly string[]): string {
  const types = new Map(tableOf(table).columns.map((column) => [column.name, column.type]));
  const arrays = columns.map((column, i) => `$${i + 1}::${types.get(column) === 'text' ? 'text' : 'bigint'}[]`);
  return `unnest(${arrays.join(', ')}) AS b(${columns.map((_column, i) => `c${i}`).join(', ')})`;
}

function textOf(value: number | bigint | string | null): PostgresCell {
  return value === null ? null : String(value);
}

/** Values of rows, one after the other, as columns. */
function transposed(values: readonly (number | bigint | string | null)[], width: number): PostgresCell[][] {
  const columns: PostgresCell[][] = Array.from({ length: width }, () => []);
  for (let i = 0; i < values.length; i++) columns[i % width]?.push(textOf(values[i] ?? null));
  return columns;
}

function nameOf({ id, file, parent, path }: TextRow): StoredName {
  return {
    id: Number(id),
    file: Number(file),
    parent: parent == null ? null : Number(parent),
    path: path ?? '',
  };
}

// SPDX-License-Identifier: MIT
/** The database in one file: batches go as MessagePack through our table-valued function, one statement for each. */
import { Packr } from 'msgpackr';
import type { BuildContext } from '../../images/context.js';
import { Db } from './db.js';
import type { Rows } from './rows.js';
import { indexOf, SCHEMA_VERSION, TABLES, type TableName, tableOf } from './schema.js';
import { createIndex, createTable, fillIn, insertBatch, insertRows, updateBatch } from './sql.js';
import type { Batch, NameBelow, Store, StoredName, TextRow } from './store.js';
import { VIEWS } from './views.js';

/** KiB of pages kept in memory; more made building indexes slower. */
const CACHE_KIB = 64 * 1024;
/** Of new databases. */
const PAGE_BYTES = 8192;
/** Pages in the log before they are copied to their place: a page that changes often is copied once. */
const WAL_PAGES = 8192;
/** Sentences are no paths: words end at every sign but these. */
const SEARCH = `CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(text, content='texts', content_rowid='id', tokenize="unicode61 tokenchars '_'")`;

/** The table of a batch has no statistics: CROSS JOIN has it read first. */
const TEXT_IDS = 'SELECT t.id FROM lemona_batch(?1, 1) b CROSS JOIN texts t ON t.text = b.c0 ORDER BY b.rowid';
const FILE_IDS =
  'SELECT f.id FROM lemona_batch(?1, 3) b CROSS JOIN files f ON f.trace = ?2 AND f.dev = b.c0 AND f.ino = b.c1 AND f.gen = b.c2 ORDER BY b.rowid';
const NAMES_OF = `SELECT n.id, n.file, n.parent, t.text AS path FROM lemona_batch(?1, 1) b CROSS JOIN paths n ON n.file = b.c0
 CROSS JOIN texts t ON t.id = n.path WHERE n.until_seq IS NULL
 UNION ALL SELECT -n.id, n.file, n.parent, t.text FROM lemona_batch(?1, 1) b CROSS JOIN paths n ON n.id =
 (SELECT l.id FROM paths l WHERE l.file = b.c0 ORDER BY l.until_seq DESC, l.id DESC LIMIT 1) CROSS JOIN texts t ON t.id = n.path
 WHERE NOT EXISTS (SELECT 1 FROM paths o WHERE o.file = b.c0 AND o.until_seq IS NULL) ORDER BY 1`;
const NAMES_BELOW = `WITH RECURSIVE below(id, file) AS (SELECT id, file FROM paths WHERE parent = ?1 AND until_seq IS NULL
 UNION SELECT p.id, p.file FROM below b JOIN paths p ON p.parent = b.file AND p.until_seq IS NULL)
 SELECT n.id, n.file, n.parent, t.text AS path, CAST(f.ino AS text) AS ino
 FROM below b JOIN paths n ON n.id = b.id JOIN texts t ON t.id = n.path JOIN files f ON f.id = n.file ORDER BY n.id`;

export class SqliteStore implements Store {
  readonly label: string;
  timeBase = 0n;
  rows = 0;
  readonly #db: Db;
  /** Another one: another process has written. */
  #version: number | undefined;
  readonly #packr = new Packr({ useRecords: false, int64AsType: 'bigint' });

  private constructor(db: Db) {
    this.#db = db;
    this.label = db.file;
  }

  /** Opens a database for loading; makes it if it is not there. */
  static async open(file: string, ctx: BuildContext): Promise<SqliteStore> {
    const db = await Db.open({ file }, ctx);
    try {
      await db.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA cache_size = -${CACHE_KIB}`);
      // Readers and the writer do not wait for each other, and a commit waits for no disk: what a power failure
      // takes back is loaded again.
      await db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = ${WAL_PAGES}`);
      // Whoever made the file may have been killed before there was anything in it.
      const isNew = (await db.all('SELECT 1 FROM sqlite_master LIMIT 1')).length === 0;
      if (isNew) await db.exec(`BEGIN IMMEDIATE; ${schemaSql()}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
      else await db.checkVersion();
      return new SqliteStore(db);
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  async begin(): Promise<boolean> {
    await this.#db.exec('BEGIN IMMEDIATE');
    const [row] = await this.#db.all('PRAGMA data_version');
    const before = this.#version;
    this.#version = Number(row?.data_version);
    return before !== undefined && before !== this.#version;
  }

  commit(): Promise<void> {
    return this.#db.exec('COMMIT');
  }

  rollback(): Promise<void> {
    return this.#db.exec('ROLLBACK');
  }

  async insert(batch: Batch): Promise<void> {
    this.rows += batch.rows;
    if (batch.rows > 0) await this.#put(insertBatch(batch.table), batch);
  }

  async insertRows(rows: Rows): Promise<void> {
    this.rows += rows.count;
    if (rows.count === 0) return;
    const { table, columns } = rows;
    await this.#db.runAgain(insertRows(table), [rows.take(), columns.length, String(this.timeBase)]);
  }

  async update(batch: Batch): Promise<void> {
    if (batch.rows > 0) await this.#put(updateBatch(batch.table, batch.columns), batch);
  }

  async #put(sql: string, batch: Batch): Promise<void> {
    const blob = this.#packr.pack(batch.take());
    const base = sql.includes('?3') ? [String(this.timeBase)] : [];
    await this.#db.runAgain(sql, [blob, batch.columns.length, ...base]);
  }

  async internTexts(texts: readonly string[]): Promise<number[]> {
    const blob = this.#packr.pack(texts);
    const [before] = await this.#db.all('SELECT COALESCE(max(id), 0) AS id FROM texts');
    await this.#db.runAgain('INSERT OR IGNORE INTO texts(text) SELECT c0 FROM lemona_batch(?1, 1)', [blob]);
    await this.#db.runAgain('INSERT INTO search(rowid, text) SELECT id, text FROM texts WHERE id > ?1', [
      before?.id ?? 0,
    ]);
    return (await this.#db.all(TEXT_IDS, [blob])).map(({ id }) => Number(id));
  }

  async internFiles(trace: number, keys: readonly (number | bigint)[]): Promise<number[]> {
    const blob = this.#packr.pack(keys);
    await this.#db.runAgain(
      'INSERT OR IGNORE INTO files(trace, dev, ino, gen) SELECT ?2, c0, c1, c2 FROM lemona_batch(?1, 3)',
      [blob, trace],
    );
    return (await this.#db.all(FILE_IDS, [blob, trace])).map(({ id }) => Number(id));
  }

  async namesOf(files: readonly number[]): Promise<StoredName[]> {
    const rows = await this.#db.all(NAMES_OF, [this.#packr.pack(files)]);
    return rows.map(({ id, file, parent, path }) => ({
      id: Number(id),
      file: Number(file),
      parent: parent === null ? null : Number(parent),
      path: String(path),
    }));
  }

  async namesBelow(directory: number): Promise<NameBelow[]> {
    const rows = await this.#db.all(NAMES_BELOW, [directory]);
    return rows.map(({ id, file, parent, path, ino }) => ({
      id: Number(id),
      file: Number(file),
      parent: Number(parent),
      path: String(path),
      ino: String(ino),
    }));
  }

  async clearOpenCalls(trace: number): Promise<void> {
    await this.#db.runAgain('DELETE FROM open_calls WHERE trace = ?1', [trace]);
  }

  async select(template: string, bound: readonly (string | number)[] = []): Promise<TextRow[]> {
    const rows = await this.#db.all(fillIn(template, 'sqlite'), bound);
    return rows.map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, cell === null ? null : String(cell)])),
    );
  }

  async makeIndex(table: TableName, columns: readonly string[]): Promise<void> {
    await this.#db.exec(createIndex(tableOf(table), indexOf(table, columns), 'sqlite'));
  }

  async finish(): Promise<void> {
    const indexes = TABLES.flatMap(({ name }) =>
      tableOf(name).indexes.map((index) => createIndex(tableOf(name), index, 'sqlite')),
    );
    await this.#db.exec(`BEGIN IMMEDIATE; ${indexes.join('; ')}; COMMIT`);
    await this.#db.exec('PRAGMA analysis_limit = 400; PRAGMA optimize = 0x10002');
  }

  /** Leaves one file, which can be read where nothing may be written; or a log beside it, if somebody reads just now. */
  async close(): Promise<void> {
    this.#db.waitForLocks(0);
    await this.#db.exec('PRAGMA journal_mode = DELETE').catch(() => undefined);
    await this.#db.close();
  }
}

function schemaSql(): string {
  const statements: string[] = [];
  for (const { name } of TABLES) {
    const table = tableOf(name);
    statements.push(createTable(table, 'sqlite'));
    for (const index of table.indexes)
      if (index.isWorking === true) statements.push(createIndex(table, index, 'sqlite'));
  }
  statements.push(SEARCH);
  for (const { name, sql } of VIEWS) statements.push(`CREATE VIEW IF NOT EXISTS ${name} AS ${fillIn(sql, 'sqlite')}`);
  return statements.join('; ');
}

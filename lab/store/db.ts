// SPDX-License-Identifier: MIT
/**
 * SQLite: the one file that imports `sqlite3`. What to know of that package: a bigint that is bound becomes NULL, and
 * an integer above 2^53 is rounded when it is read. So bigints are refused here, and whoever reads 64 bits casts them
 * to text. Its binding is loaded at the first open, because it is compiled only when somebody needs it.
 */
import type { Database, RunResult, Statement } from 'sqlite3';
import type { BuildContext } from '../../images/context.js';
import { abortError, LabError, messageOf, systemCodeOf } from '../util/errors.js';
import { prepareBinding } from './binding.js';
import { checkVersion } from './schema.js';

export type Cell = string | number | null;
export type Row = Readonly<Record<string, Cell>>;
export type Bound = string | number | Buffer | null;

export interface OpenOptions {
  readonly file: string;
  readonly isReadOnly?: boolean;
}

function sqlError(what: string, error: unknown): LabError {
  const code = systemCodeOf(error);
  if (code === 'SQLITE_INTERRUPT') return abortError(what, error);
  if (code === 'SQLITE_FULL') {
    return new LabError('LAB_ENV_DISK_FULL', `${what}: ${messageOf(error)}`, {
      cause: error,
      next: 'free some space, or choose another file with --db',
    });
  }
  if (code === 'SQLITE_BUSY')
    return new LabError('LAB_RUN_STATE', `${what}: another process holds the database`, { cause: error });
  if (code === 'SQLITE_CORRUPT' || code === 'SQLITE_NOTADB') {
    return new LabError('LAB_RUN_CORRUPT', `${what}: ${messageOf(error)}`, {
      cause: error,
      next: 'delete it and make it again: segments are the truth',
    });
  }
  if (code === 'SQLITE_CANTOPEN' || code === 'SQLITE_READONLY')
    return new LabError('LAB_ENV_PERMISSION', `${what}: ${messageOf(error)}`, {
      cause: error,
      next: 'choose a file in a folder that is there and may be written to, with --db',
    });
  return new LabError('LAB_BUG', `${what}: ${messageOf(error)}`, { cause: error });
}

/** How long a lock of another process is waited for. */
const BUSY_MS = 10_000;

export class Db {
  readonly file: string;
  readonly #database: Database;
  /** Statements that come again, by their text: preparing one costs as much as running it on a few rows. */
  readonly #kept = new Map<string, Statement>();

  private constructor(file: string, database: Database) {
    this.file = file;
    this.#database = database;
  }

  /** Opens a database file, with our extension loaded; makes it unless it is only to be read. */
  static async open({ file, isReadOnly = false }: OpenOptions, ctx: BuildContext): Promise<Db> {
    const { extension } = await prepareBinding(ctx);
    const { default: sqlite3 } = await import('sqlite3');
    const mode = isReadOnly ? sqlite3.OPEN_READONLY : sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE;
    const database = await new Promise<Database>((resolve, reject) => {
      const opened: Database = new sqlite3.Database(file, mode, (error) =>
        error === null ? resolve(opened) : reject(sqlError(`opening ${file}`, error)),
      );
    });
    const db = new Db(file, database);
    try {
      db.waitForLocks(BUSY_MS);
      await db.#settle('loading the extension', (done) => database.loadExtension(extension, done));
      return db;
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  #settle(what: string, work: (done: (error: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      work((error) => (error === null ? resolve() : reject(sqlError(`${this.file}: ${what}`, error))));
    });
  }

  /** Runs statements without parameters. */
  exec(sql: string): Promise<void> {
    return this.#settle(sql, (done) => this.#database.exec(sql, done));
  }

  /** Runs one statement. @returns how many rows it changed */
  run(sql: string, bound: readonly Bound[] = []): Promise<number> {
    return this.#changes(sql, (done) => this.#database.run(sql, [...bound], done));
  }

  /** The same of one that comes again and again. */
  async runAgain(sql: string, bound: readonly Bound[] = []): Promise<number> {
    const statement = this.#kept.get(sql) ?? (await this.#prepare(sql));
    return this.#changes(sql, (done) => statement.run([...bound], done));
  }

  #changes(sql: string, work: (done: (this: RunResult, error: Error | null) => void) => void): Promise<number> {
    return new Promise((resolve, reject) => {
      const { file } = this;
      work(function (error) {
        if (error === null) resolve(this.changes);
        else reject(sqlError(`${file}: ${sql}`, error));
      });
    });
  }

  async #prepare(sql: string): Promise<Statement> {
    const statement = await new Promise<Statement>((resolve, reject) => {
      const prepared: Statement = this.#database.prepare(sql, (error: Error | null) =>
        error === null ? resolve(prepared) : reject(sqlError(`${this.file}: ${sql}`, error)),
      );
    });
    this.#kept.set(sql, statement);
    return statement;
  }

  /** All rows of a query. Integers above 2^53 are rounded: cast them to text. */
  all(sql: string, bound: readonly Bound[] = []): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#database.all<Row>(sql, [...bound], (error, rows) => {
        if (error === null) resolve(rows);
        else reject(sqlError(`${this.file}: ${sql}`, error));
      });
    });
  }

  /** @throws LabError LAB_RUN_STATE if its tables are not those that this program knows */
  async checkVersion(): Promise<void> {
    const [row] = await this.all('PRAGMA user_version');
    checkVersion(this.file, Number(row?.user_version));
  }

  /** Ends the statement that runs, from outside: it fails with LAB_ABORTED. */
  interrupt(): void {
    this.#database.interrupt();
  }

  /** Of another process, for how long a lock is waited for. */
  waitForLocks(ms: number): void {
    this.#database.configure('busyTimeout', ms);
  }

  async close(): Promise<void> {
    for (const statement of this.#kept.values()) statement.finalize();
    await this.#settle('closing', (done) => this.#database.close(done));
  }
}

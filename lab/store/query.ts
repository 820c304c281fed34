// SPDX-License-Identifier: MIT
/** Questions to a database: named ones or SQL; whatever comes back is exact, as text. */
import { access } from 'node:fs/promises';
import type { BuildContext } from '../../images/context.js';
import { LabError, messageOf, throwIfAborted } from '../util/errors.js';
import { Db } from './db.js';
import { type Dialect, fillIn } from './sql.js';
import { QUERIES, QUERY_LIMIT } from './views.js';

export type Page = readonly (readonly (string | null)[])[];

export interface Answer {
  readonly columns: readonly string[];
  /** Its rows, some at a time: memory does not grow with the answer. */
  readonly pages: AsyncIterable<Page>;
}

/** Rows that are held in memory together. */
export const PAGE_ROWS = 1000;

export interface Question {
  readonly sql: string;
  readonly bound: readonly (string | number)[];
  /** Rows that are to be shown: a row beyond says that there are more. Of SQL, all. */
  readonly limit?: number;
}

/**
 * The rows of an answer that are to be shown.
 * @param onMore called at the end if there are others
 */
export async function* upTo(
  pages: AsyncIterable<Page>,
  limit: number,
  onMore: () => void,
): AsyncGenerator<Page, void, void> {
  let left = limit;
  for await (const page of pages) {
    if (page.length > left) {
      if (left > 0) yield page.slice(0, left);
      onMore();
      return;
    }
    left -= page.length;
    yield page;
  }
}

/** Named queries as they are called: `changed PATH`. */
export function queryNames(): string[] {
  return QUERIES.map(({ name, args }) => [name, ...args.map((arg) => arg.name)].join(' '));
}

/** Of some records: a machine's name is that of all its boots. Pure. */
function onlyOf(sql: string, parameter: number | undefined): string {
  const traces = `SELECT id FROM traces WHERE name = {text ${parameter}}
 OR substr(name, 1, length({text ${parameter}}) + 1) = {text ${parameter}} || '/'`;
  return sql.replaceAll(/\{of (trace|process)\}/g, (_all, column: string) => {
    if (parameter === undefined) return '';
    return column === 'trace'
      ? `AND trace IN (${traces})`
      : `AND process IN (SELECT id FROM processes WHERE trace IN (${traces}))`;
  });
}

/**
 * What words of a command line ask for: a named query with its arguments, or one SELECT. Pure.
 * @param of name of a record, or of a machine: of named queries, those rows alone
 * @throws LabError LAB_USAGE
 */
export function parseQuestion(words: readonly string[], dialect: Dialect = 'sqlite', of?: string): Question {
  const [first = '', ...rest] = words;
  const named = QUERIES.find((query) => query.name === first);
  if (named === undefined) {
    if (!/^\s*(select|with|values)\b/i.test(first)) {
      throw new LabError('LAB_USAGE', `'${first}' is no named query, and no SELECT`, {
        next: `ask one of: ${queryNames().join(', ')}; or a SELECT in quotes`,
      });
    }
    if (rest.length > 0) throw new LabError('LAB_USAGE', `'${rest[0]}': SQL is one operand, in quotes`);
    if (of !== undefined)
      throw new LabError('LAB_USAGE', '--of is for named queries', { next: "in SQL: WHERE record LIKE 'MACHINE/%'" });
    return { sql: first, bound: [] };
  }
  if (rest.length !== named.args.length) {
    const wanted = named.args.map((arg) => arg.name).join(' ') || 'no operand';
    throw new LabError('LAB_USAGE', `query ${named.name}: ${rest.length} operands, wanted ${wanted}`);
  }
  const wrong = named.args.findIndex((arg, i) => arg.type === 'int' && !/^\d{1,10}$/.test(rest[i] ?? ''));
  if (wrong >= 0)
    throw new LabError(
      'LAB_USAGE',
      `query ${named.name}: ${named.args[wrong]?.name} '${rest[wrong]}': wanted a number`,
    );
  const sql = onlyOf(named.sql, of === undefined ? undefined : rest.length + 1);
  return { sql: fillIn(sql, dialect), bound: of === undefined ? rest : [...rest, of], limit: QUERY_LIMIT };
}

/** What the user's own SQL does wrong is no bug of ours. */
export function questionError(error: unknown): LabError {
  return new LabError('LAB_USAGE', `the database does not understand the question: ${messageOf(error)}`, {
    cause: error,
    next: 'docs/schema.md has its tables and views',
  });
}

/** A database that is only read. One question at a time. */
export class QueryDb {
  readonly #db: Db;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;

  private constructor(db: Db, signal: AbortSignal) {
    this.#db = db;
    this.#signal = signal;
    this.#onAbort = () => db.interrupt();
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  static async open(file: string, ctx: BuildContext): Promise<QueryDb> {
    try {
      await access(file);
    } catch (error) {
      throw new LabError('LAB_RUN_STATE', `there is no database ${file}`, {
        cause: error,
        next: './lemona index makes it',
      });
    }
    const db = await Db.open({ file, isReadOnly: true }, ctx);
    try {
      await db.checkVersion();
      return new QueryDb(db, ctx.signal);
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  /** The answer, every value as text: SQLite's driver would round integers above 2^53. */
  async ask({ sql, bound }: Question): Promise<Answer> {
    throwIfAborted(this.#signal, 'query');
    try {
      await this.#db.exec('DROP TABLE IF EXISTS temp.answer');
      // A temporary file holds it, however long it is. As a part of another statement it can be nothing but one query.
      await this.#db.run(`CREATE TEMP TABLE answer AS SELECT * FROM (${sql}\n)`, bound);
    } catch (error) {
      throw error instanceof LabError && error.code === 'LAB_BUG' ? questionError(error.cause) : error;
    }
    const columns = (await this.#db.all('PRAGMA temp.table_info(answer)')).map(({ name }) => String(name));
    return { columns, pages: this.#pages(columns) };
  }

  async *#pages(columns: readonly string[]): AsyncGenerator<Page, void, void> {
    const picked = columns.map((name, i) => `CAST("${name.replaceAll('"', '""')}" AS TEXT) AS "${i}"`).join(', ');
    for (let after = 0; ; after += PAGE_ROWS) {
      throwIfAborted(this.#signal, 'query');
      const page = `SELECT ${picked} FROM temp.answer WHERE rowid > ?1 ORDER BY rowid LIMIT ${PAGE_ROWS}`;
      const rows = await this.#db.all(page, [after]);
      if (rows.length > 0)
        yield rows.map((row) => columns.map((_name, i) => (row[i] === null ? null : String(row[i]))));
      if (rows.length < PAGE_ROWS) return;
    }
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    await this.#db.close();
  }
}

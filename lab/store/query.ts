// SPDX-License-Identifier: MIT
/** Questions to a database: named ones or SQL; whatever comes back is exact, as text. */
import { access } from 'node:fs/promises';
import type { BuildContext } from '../../images/context.js';
import { LabError } from '../util/errors.js';
import { Db } from './db.js';
import { type Dialect, fillIn } from './sql.js';
import { QUERIES } from './views.js';

export interface Answer {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
}

export interface Question {
  readonly sql: string;
  readonly bound: readonly (string | number)[];
}

/** Named queries as they are called: `changed PATH`. */
export function queryNames(): string[] {
  return QUERIES.map(({ name, args }) => [name, ...args.map((arg) => arg.name)].join(' '));
}

/**
 * What words of a command line ask for: a named query with its arguments, or one SELECT. Pure.
 * @throws LabError LAB_USAGE
 */
export function parseQuestion(words: readonly string[], dialect: Dialect = 'sqlite'): Question {
  const [first = '', ...rest] = words;
  const named = QUERIES.find((query) => query.name === first);
  if (named === undefined) {
    if (!/^\s*(select|with|values)\b/i.test(first)) {
      throw new LabError('LAB_USAGE', `'${first}' is no named query, and no SELECT`, {
        next: `ask one of: ${queryNames().join(', ')}; or a SELECT in quotes`,
      });
    }
    if (rest.length > 0) throw new LabError('LAB_USAGE', `'${rest[0]}': SQL is one operand, in quotes`);
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
  return { sql: fillIn(named.sql, dialect), bound: rest };
}

/** A database that is only read. */
export class QueryDb {
  readonly #db: Db;

  private constructor(db: Db) {
    this.#db = db;
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
    return new QueryDb(db);
  }

  /** The answer, every value as text: SQLite's driver would round integers above 2^53. */
  async ask({ sql, bound }: Question): Promise<Answer> {
    // As a part of another statement it can be nothing but one query, and has columns even without rows.
    const named = await this.#columns(sql);
    const picked = named.map((_name, i) => `CAST("${i}" AS TEXT) AS "${i}"`).join(', ');
    const list = named.map((_name, i) => `"${i}"`).join(', ');
    const rows = await this.#db.all(`WITH answer(${list}) AS (${sql}\n) SELECT ${picked} FROM answer`, bound);
    return {
      columns: named,
      rows: rows.map((row) => named.map((_name, i) => (row[i] === null ? null : String(row[i])))),
    };
  }

  /** Names of the columns of a query, which must be one. */
  async #columns(sql: string): Promise<string[]> {
    // A view takes no parameters, and what they are does not change its columns.
    await this.#db.exec(`CREATE TEMP VIEW answer AS ${sql.replaceAll(/\?\d/g, 'NULL')}`);
    try {
      return (await this.#db.all('PRAGMA temp.table_info(answer)')).map(({ name }) => String(name));
    } finally {
      await this.#db.exec('DROP VIEW temp.answer');
    }
  }

  close(): Promise<void> {
    return this.#db.close();
  }
}

// SPDX-License-Identifier: MIT
import path from 'node:path';
import { findRunDir } from '../../run/folder.js';
import { isPostgres, PostgresQueries } from '../../store/postgres-db.js';
import { type Answer, parseQuestion, QueryDb, upTo } from '../../store/query.js';
import { QUERIES } from '../../store/views.js';
import type { Log } from '../../util/log.js';
import type { Output } from '../../util/output.js';
import type { Invocation } from '../invocation.js';
import { plainTable } from '../plain-table.js';
import { DATABASE_NAME } from './index.js';

/** Characters of a cell for people; `--json` has all of it. */
const CELL_CHARS = 80;
/** Rows of a table for people; of SQL, `--json` has all of them. */
const TABLE_ROWS = 10_000;

function shorten(cell: string | null): string {
  if (cell === null) return '';
  return cell.length > CELL_CHARS ? `${cell.slice(0, CELL_CHARS - 1)}…` : cell;
}

function moreText(limit: number): string {
  return `there are more than the ${limit} rows of a named query: ask in SQL`;
}

/** One object a row; the last one says so if there are more. */
export async function printObjects({ columns, pages }: Answer, limit: number, out: Output, log: Log): Promise<void> {
  let hasMore = false;
  for await (const page of upTo(pages, limit, () => (hasMore = true))) {
    for (const row of page) await out.json(Object.fromEntries(columns.map((column, i) => [column, row[i] ?? null])));
    if (out.gone) return;
  }
  if (!hasMore) return;
  await out.json({ more: moreText(limit) });
  log.warn(moreText(limit));
}

/** A table is drawn when all of it is there: beyond its limit it says so. */
export async function printTable({ columns, pages }: Answer, limit: number, out: Output, log: Log): Promise<void> {
  const rows: string[][] = [];
  let hasMore = false;
  for await (const page of upTo(pages, Math.min(limit, TABLE_ROWS), () => (hasMore = true)))
    rows.push(...page.map((row) => row.map(shorten)));
  await out.line(plainTable(columns, rows));
  if (!hasMore) return;
  if (limit <= TABLE_ROWS) log.warn(moreText(limit));
  else log.warn(`there are more than the ${TABLE_ROWS} rows shown; --json has all of them`);
}

/** `query`: a named query, or SQL. Without one it lists the names. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const [operand = '', ...words] = invocation.args;
  if (words.length === 0) {
    const rows = QUERIES.map(({ name, args, doc }) => [[name, ...args.map((arg) => arg.name)].join(' '), doc]);
    if (invocation.json) for (const [query, answers] of rows) await invocation.out.json({ query, answers });
    else await invocation.out.line(plainTable(['query', 'answers'], rows));
    return 0;
  }
  const where = invocation.string('db') ?? path.join(findRunDir(ctx.runsDir, operand), DATABASE_NAME);
  const question = parseQuestion(words, isPostgres(where) ? 'postgres' : 'sqlite', invocation.string('of'));
  const db = isPostgres(where) ? await PostgresQueries.open(where, ctx.signal) : await QueryDb.open(where, ctx);
  try {
    const answer = await db.ask(question);
    const print = invocation.json ? printObjects : printTable;
    await print(answer, question.limit ?? Number.POSITIVE_INFINITY, invocation.out, ctx.log);
    return 0;
  } finally {
    await db.close();
  }
}

// SPDX-License-Identifier: MIT
import path from 'node:path';
import { isPostgres, PostgresQueries } from '../../store/postgres-db.js';
import { type Answer, parseQuestion, QueryDb } from '../../store/query.js';
import { QUERIES } from '../../store/views.js';
import type { Invocation } from '../invocation.js';
import type { Output } from '../output.js';
import { plainTable } from '../plain-table.js';
import { DATABASE_NAME, folderOf } from './index.js';

/** Characters of a cell for people; `--json` has all of it. */
const CELL_CHARS = 80;

function shorten(cell: string | null): string {
  if (cell === null) return '';
  return cell.length > CELL_CHARS ? `${cell.slice(0, CELL_CHARS - 1)}…` : cell;
}

async function print(answer: Answer, isJson: boolean, out: Output): Promise<void> {
  if (!isJson) {
    await out.line(
      plainTable(
        answer.columns,
        answer.rows.map((row) => row.map(shorten)),
      ),
    );
    return;
  }
  for (const row of answer.rows)
    await out.json(Object.fromEntries(answer.columns.map((column, i) => [column, row[i] ?? null])));
}

/** `query`: a named query, or SQL. Without one it lists the names. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const [operand = '', ...words] = invocation.args;
  if (words.length === 0) {
    const rows = QUERIES.map(({ name, args, doc }) => [[name, ...args.map((arg) => arg.name)].join(' '), doc]);
    await print({ columns: ['query', 'answers'], rows }, invocation.json, invocation.out);
    return 0;
  }
  const where = invocation.string('db') ?? path.join(folderOf(operand, ctx.runsDir), DATABASE_NAME);
  const question = parseQuestion(words, isPostgres(where) ? 'postgres' : 'sqlite');
  const db = isPostgres(where) ? await PostgresQueries.open(where) : await QueryDb.open(where, ctx);
  try {
    await print(await db.ask(question), invocation.json, invocation.out);
    return 0;
  } finally {
    await db.close();
  }
}

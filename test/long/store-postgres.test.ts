// SPDX-License-Identifier: MIT
/** The same segments in SQLite and in a real PostgreSQL server: the same rows, and the same answers. */
import { join } from 'node:path';
import { expect } from 'chai';
import { findTraces, Load } from '../../lab/store/load.js';
import { PostgresQueries } from '../../lab/store/postgres-db.js';
import { PostgresStore } from '../../lab/store/postgres-store.js';
import { parseQuestion, QueryDb } from '../../lab/store/query.js';
import { TABLES } from '../../lab/store/schema.js';
import { QUERIES } from '../../lab/store/views.js';
import { usePostgres } from '../harness/postgres.js';
import { loadFolder, rowsOf, storeContext, useStore } from '../harness/store.js';
import { failureOf } from '../support/failure.js';
import { writeSegments } from '../support/run-builder.js';
import { synthesize } from '../support/trace-synth.js';

const RECORDS = 100_000;
const SEGMENT_BYTES = 500_000;

describe('the database in PostgreSQL', () => {
  const server = usePostgres();
  const folder = useStore();

  /** Loads with a store that is opened anew for some segments at a time. */
  async function loadPieces(): Promise<void> {
    for (const isEnd of [false, true]) {
      const store = await PostgresStore.open(server().url);
      try {
        const load = new Load(store, storeContext.signal);
        await load.pass(await findTraces(folder(), 'run', async () => !isEnd));
        await store.finish();
      } finally {
        await store.close();
      }
    }
  }

  it('has the rows that SQLite has, and answers alike', async () => {
    await writeSegments(folder(), [...synthesize({ records: RECORDS })], SEGMENT_BYTES);
    const file = join(folder(), 'index.db');
    await loadFolder(folder(), file, { isEnd: false });
    await loadFolder(folder(), file);
    const began = performance.now();
    await loadPieces();
    const perSecond = Math.round(RECORDS / ((performance.now() - began) / 1000));
    const sqlite = await QueryDb.open(file, storeContext);
    const postgres = await PostgresQueries.open(server().url, storeContext.signal);
    let rows = 0;
    try {
      for (const { name, columns } of TABLES) {
        const question = { sql: `SELECT * FROM ${name} ORDER BY ${columns[0].name}`, bound: [] };
        const answer = await rowsOf(postgres, question);
        expect(answer, name).to.deep.equal(await rowsOf(sqlite, question));
        rows += answer.length;
      }
      const somePath = 'SELECT path FROM path_list WHERE until_seq IS NOT NULL ORDER BY id LIMIT 1';
      const [[path] = []] = await rowsOf(sqlite, { sql: somePath, bound: [] });
      for (const { name, args } of QUERIES) {
        const words = [name, ...args.map((arg) => OPERANDS[arg.name] ?? path ?? '')];
        const question = parseQuestion(words, 'postgres');
        const answer = await rowsOf(postgres, question);
        expect(answer, name).to.deep.equal(await rowsOf(sqlite, parseQuestion(words)));
        expect((await postgres.ask(question)).columns).to.deep.equal((await sqlite.ask(parseQuestion(words))).columns);
        if (!EMPTY.has(name)) expect(answer, name).to.have.length.above(0);
      }
    } finally {
      await sqlite.close();
      await postgres.close();
    }
    process.stderr.write(`    PostgreSQL: ${RECORDS} records at ${perSecond}/s; ${rows} rows compared\n`);
  });

  it('is not asked what it does not understand, and is interrupted', async () => {
    const abort = new AbortController();
    const db = await PostgresQueries.open(server().url, abort.signal);
    try {
      for (const sql of [
        'SELECT FROM nowhere',
        'SELECT 1; COMMIT; BEGIN READ WRITE; DROP TABLE events; COMMIT',
        "SELECT 'x'::int",
      ])
        expect((await failureOf(db.ask({ sql, bound: [] }))).code, sql).to.equal('LAB_USAGE');
      setTimeout(() => abort.abort(), 100);
      const endless = 'WITH RECURSIVE c(x) AS (SELECT 1::numeric UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c';
      expect((await failureOf(db.ask({ sql: endless, bound: [] }))).exitStatus).to.equal(130);
    } finally {
      await db.close();
    }
  });

  it('lets only one inserter in', async () => {
    const store = await PostgresStore.open(server().url);
    try {
      const error = await PostgresStore.open(server().url).catch((e: unknown) => e);
      expect(String(error)).to.match(/another inserter loads into it/);
    } finally {
      await store.close();
    }
  });
});

const OPERANDS: Readonly<Record<string, string>> = { PID: '1003', WORDS: 'bin tar' };
/** What the made-up machine does not do. */
const EMPTY: ReadonlySet<string> = new Set(['losses', 'logins']);

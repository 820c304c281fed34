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
import * as b from '../support/trace-builder.js';
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

  it('takes an effect once, and has what looks it up from the first doubt on', async () => {
    const far = 2n ** 64n - 3n;
    const effects = (...numbers: bigint[]) => numbers.map((seq) => b.nop(seq));
    await writeSegments(folder(), [
      b.subbuf(effects(1n, 2n, 2n, far), { number: 0n, monoNs: 1n }),
      b.subbuf(effects(2n ** 63n, 5n, 3n, far, 2n ** 63n, 4n), { number: 1n, monoNs: 2n }),
      b.subbuf(effects(4n, 6n), { number: 2n, monoNs: 2n ** 33n }),
    ]);
    const store = await PostgresStore.open(server().url);
    try {
      const index = () => store.select("SELECT tablename FROM pg_indexes WHERE indexname = 'effects_trace_seq'");
      // The database is that of the other tests: their last load made all of its indexes.
      await store.select('DROP INDEX IF EXISTS effects_trace_seq');
      expect(await index()).to.deep.equal([]);
      for (const isEnd of [false, true]) {
        await new Load(store, storeContext.signal).pass(await findTraces(folder(), 'twice', async () => !isEnd));
        expect(await index()).to.deep.equal([{ tablename: 'effects' }]);
      }
      await store.finish();
      const ofTrace = "trace = (SELECT id FROM traces WHERE name = 'twice')";
      const rows = await store.select(`SELECT seq AS cell FROM effects WHERE ${ofTrace} ORDER BY effects.seq`);
      expect(rows.map(({ cell }) => cell)).to.deep.equal([`${-(2n ** 63n)}`, '-3', '1', '2', '3', '4', '5', '6']);
      const details = `SELECT detail AS cell FROM problems WHERE kind = 'doubled' AND ${ofTrace}`;
      expect((await store.select(details)).map(({ cell }) => cell).sort()).to.deep.equal(
        [2n, 4n, 2n ** 63n, far].map((seq) => `effect ${seq} is there twice: this one is left out`).sort(),
      );
    } finally {
      await store.close();
    }
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

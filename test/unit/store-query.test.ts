// SPDX-License-Identifier: MIT
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { printObjects, printTable } from '../../lab/cli/verbs/query.js';
import { Db } from '../../lab/store/db.js';
import { PAGE_ROWS, parseQuestion, QueryDb } from '../../lab/store/query.js';
import { QUERIES, QUERY_LIMIT } from '../../lab/store/views.js';
import { silentLog } from '../../lab/util/log.js';
import { Output } from '../../lab/util/output.js';
import { loadFolder, rowsOf, storeContext, useStore } from '../harness/store.js';
import { failureOf } from '../support/failure.js';
import { collect, writeSegments } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

describe('an answer of the database', () => {
  const folder = useStore();
  const abort = new AbortController();

  async function withDb<T>(use: (db: QueryDb) => Promise<T>, signal = storeContext.signal): Promise<T> {
    await writeSegments(folder(), [b.subbuf([b.entry(0)])]);
    const file = path.join(folder(), 'index.db');
    await loadFolder(folder(), file);
    const db = await QueryDb.open(file, { ...storeContext, signal });
    try {
      return await use(db);
    } finally {
      await db.close();
    }
  }

  const sql = (text: string) => ({ sql: text, bound: [] });
  const upTo = (n: number) =>
    sql(`WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ${n}) SELECT x FROM c`);

  it('is a refusal by its own fault where the question is wrong', async () => {
    await withDb(async (db) => {
      const cases: readonly (readonly [string[], RegExp])[] = [
        [['SELECT FROM'], /syntax error/],
        [['SELECT lost FROM events'], /no such column: lost/],
        [['SELECT 1; DROP TABLE events'], /syntax error/],
        [["SELECT load_extension('x')"], /not authorized/],
        [['search', '"'], /unterminated string/],
        [['search', ''], /syntax error/],
      ];
      for (const [words, why] of cases) {
        const error = await failureOf(db.ask(parseQuestion(words)));
        expect([error.code, error.exitStatus], words.join(' ')).to.deep.equal(['LAB_USAGE', 2]);
        expect(error.message, words.join(' ')).to.match(why);
      }
      expect(await rowsOf(db, sql('SELECT count(*) FROM events'))).to.deep.equal([['1']]);
    });
  });

  it('is refused by a database of another version, and so is loading', async () => {
    await withDb(async () => {});
    const file = path.join(folder(), 'index.db');
    const old = await Db.open({ file }, storeContext);
    await old.exec('PRAGMA user_version = 2');
    await old.close();
    for (const attempt of [QueryDb.open(file, storeContext), loadFolder(folder(), file)])
      expect((await failureOf(attempt)).message).to.match(/its schema is version 2, wanted 3/);
  });

  it('is of one record, or of one machine, where it is asked so', async () => {
    const boots = { 'web_1/boots/aa': 1n, 'web_1/boots/bb': 2n, 'web-1/boots/cc': 3n, 'web_10/boots/dd': 4n };
    for (const [place, bootId] of Object.entries(boots))
      await writeSegments(path.join(folder(), 'machines', place), [
        b.subbuf(
          [
            b.task({ tid: 7, tgid: 7 }),
            b.exec(`/bin/${place.slice(-2)}`, { tgid: 7 }),
            b.entry(0, [], [], { tid: 7 }),
            b.loss(1, { records: 1 }),
          ],
          { bootId },
        ),
      ]);
    const file = path.join(folder(), 'index.db');
    await loadFolder(folder(), file);
    const db = await QueryDb.open(file, storeContext);
    try {
      const programs = async (of?: string) => {
        const { columns, pages } = await db.ask(parseQuestion(['programs'], 'sqlite', of));
        const [record, program] = ['record', 'program'].map((name) => columns.indexOf(name));
        return (await collect(pages)).flat().map((row) => `${row[record ?? 0]} ${row[program ?? 0]}`);
      };
      expect(await programs()).to.have.length(4);
      expect(await programs('web_1')).to.deep.equal(['web_1/aa /bin/aa', 'web_1/bb /bin/bb']);
      expect(await programs('web_1/bb')).to.deep.equal(['web_1/bb /bin/bb']);
      let answered = 0;
      for (const { name, args } of QUERIES) {
        const words = [name, ...args.map(({ type }) => (type === 'int' ? '7' : 'aa'))];
        const whole = await collect((await db.ask(parseQuestion(words))).pages);
        const part = await collect((await db.ask(parseQuestion(words, 'sqlite', 'web-1'))).pages);
        for (const row of part.flat()) expect(whole.flat()).to.deep.include(row);
        expect(
          part.flat().every((row) => row[0] === 'web-1/cc'),
          name,
        ).to.equal(true);
        answered += part.flat().length;
      }
      expect(answered).to.be.at.least(4);
    } finally {
      await db.close();
    }
    expect(() => parseQuestion(['SELECT 1'], 'sqlite', 'web_1')).to.throw(/for named queries/);
  });

  it('is whole however long it is, and comes in pages', async () => {
    await withDb(async (db) => {
      for (const rows of [0, 1, PAGE_ROWS, 2 * PAGE_ROWS + 1]) {
        const { columns, pages } = await db.ask(upTo(rows));
        const seen = await collect(pages);
        expect(columns).to.deep.equal(['x']);
        expect(seen.map((page) => page.length).every((length) => length > 0 && length <= PAGE_ROWS)).to.equal(true);
        expect(seen.flat()).to.deep.equal(Array.from({ length: rows }, (_none, i) => [String(i + 1)]));
      }
    });
  });

  it('to a named query says where there are more rows than it shows', async () => {
    for (const rows of [QUERY_LIMIT, QUERY_LIMIT + 1]) {
      const place = path.join(folder(), String(rows));
      const first = b.entry(1, [], [], { tid: 7 });
      await writeSegments(place, [
        b.subbuf([first, ...Array.from({ length: rows - 1 }, () => b.entry(0, [], [], { tid: 7 }))]),
      ]);
      const file = path.join(place, 'index.db');
      await loadFolder(place, file);
      const db = await QueryDb.open(file, storeContext);
      try {
        for (const print of [printObjects, printTable]) {
          const question = parseQuestion(['calls', '7']);
          const warnings: string[] = [];
          const log = { ...silentLog, warn: (line: string) => warnings.push(line) };
          const stream = new PassThrough({ highWaterMark: 2 ** 24 });
          await print(await db.ask(question), question.limit ?? 0, new Output(stream), log);
          stream.end();
          const lines = (await text(stream)).trim().split('\n');
          const isMore = rows > QUERY_LIMIT;
          const more = 'there are more than the 1000 rows of a named query: ask in SQL';
          expect(lines.filter((line) => /\b(read|write)\b/.test(line))).to.have.length(QUERY_LIMIT);
          expect(warnings).to.deep.equal(isMore ? [more] : []);
          const last = print === printObjects && isMore ? { more } : undefined;
          if (last !== undefined) expect(JSON.parse(lines.at(-1) ?? '')).to.deep.equal(last);
        }
      } finally {
        await db.close();
      }
    }
  });

  it('is exact, whatever its columns are called', async () => {
    await withDb(async (db) => {
      const { columns, pages } = await db.ask(
        sql(`SELECT 9223372036854775807 AS "a""b", 'x' AS c, NULL AS c, '' AS ""`),
      );
      expect(columns.slice(0, 2)).to.deep.equal(['a"b', 'c']);
      expect((await collect(pages)).flat()).to.deep.equal([['9223372036854775807', 'x', null, '']]);
    });
  });

  it('that never comes ends at an interrupt', async () => {
    const endless = sql('WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c');
    await withDb(async (db) => {
      setTimeout(() => abort.abort(), 100);
      expect((await failureOf(db.ask(endless))).exitStatus).to.equal(130);
      expect((await failureOf(db.ask(upTo(1)))).exitStatus).to.equal(130);
    }, abort.signal);
  });

  it('is of one file, and leaves none beside it', async () => {
    await withDb(async (db) => {
      expect(await rowsOf(db, upTo(3))).to.have.length(3);
      expect((await readdir(folder())).sort()).to.deep.equal(['index.db', 'segments']);
    });
    expect((await readdir(folder())).sort()).to.deep.equal(['index.db', 'segments']);
  });
});

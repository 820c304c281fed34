// SPDX-License-Identifier: MIT
/** A committed segment in, every row of its database out. `UPDATE_GOLDEN=1` writes what is expected. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { parseQuestion, QueryDb } from '../../lab/store/query.js';
import { QUERIES } from '../../lab/store/views.js';
import { dump, loadFolder, storeContext, useStore } from '../harness/store.js';

const SEGMENT = path.join(import.meta.dirname, 'decoder/everything.seg');
const ROWS = path.join(import.meta.dirname, 'store/everything.rows.txt');

describe('golden: the database of one record of every kind', () => {
  const folder = useStore();

  async function load(): Promise<string> {
    await mkdir(path.join(folder(), 'segments'));
    await copyFile(SEGMENT, path.join(folder(), 'segments/000000.seg'));
    const db = path.join(folder(), 'index.db');
    await loadFolder(folder(), db);
    return db;
  }

  it('has these rows', async () => {
    const text = `${(await dump(await load())).join('\n')}\n`;
    if (process.env.UPDATE_GOLDEN === '1') {
      await mkdir(path.dirname(ROWS), { recursive: true });
      await writeFile(ROWS, text);
    }
    expect(text).to.equal(await readFile(ROWS, 'utf8'));
  });

  it('answers every named query', async () => {
    const db = await QueryDb.open(await load(), storeContext);
    try {
      for (const { name, args } of QUERIES) {
        const { columns } = await db.ask(
          parseQuestion([name, ...args.map(({ type }) => (type === 'int' ? '100' : 'etc'))]),
        );
        expect(columns, name).to.have.length.above(5);
      }
    } finally {
      await db.close();
    }
  });
});

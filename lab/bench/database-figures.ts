// SPDX-License-Identifier: MIT
/** What a record becomes in the database (`index`, SQLite), as the paper counts: entries, which are the rows of all tables. */
import { rm, stat } from 'node:fs/promises';
import { Load } from '../store/load.js';
import { TABLES } from '../store/schema.js';
import { SqliteStore } from '../store/sqlite-store.js';
import { segmentsFolder } from '../trace/run-index.js';
import type { LabContext } from '../util/context.js';
import type { DatabaseFigures } from './report-data.js';

/** Loads a run's record into a new database beside the run, counts, and removes it. The image's own names are left out. */
export async function databaseFigures(runDir: string, ctx: LabContext): Promise<DatabaseFigures> {
  const file = `${runDir}.db`;
  await rm(file, { force: true });
  try {
    const entries = await loadAndCount(runDir, file, ctx);
    return { entries, bytes: (await stat(file)).size };
  } finally {
    for (const suffix of ['', '-wal', '-shm']) await rm(`${file}${suffix}`, { force: true });
  }
}

async function loadAndCount(runDir: string, file: string, ctx: LabContext): Promise<number> {
  const store = await SqliteStore.open(file, ctx);
  try {
    await new Load(store, ctx.signal).pass([
      { name: 'run', folder: segmentsFolder(runDir), isGrowing: async () => false },
    ]);
    await store.finish();
    let entries = 0;
    for (const { name } of TABLES) {
      const [row] = await store.select(`SELECT count(*) AS entries FROM ${name}`);
      entries += Number(row?.entries);
    }
    return entries;
  } finally {
    await store.close();
  }
}

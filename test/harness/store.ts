// SPDX-License-Identifier: MIT
/** What tests of the database share: its native parts, a folder, and all its rows as text. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { prepareBinding } from '../../lab/store/binding.js';
import { findTraces, Load, type LoadSum } from '../../lab/store/load.js';
import type { Base } from '../../lab/store/loader.js';
import { type Page, QueryDb, type Question } from '../../lab/store/query.js';
import { TABLES } from '../../lab/store/schema.js';
import { SqliteStore } from '../../lab/store/sqlite-store.js';
import { defaultCacheDir } from '../../lab/util/context.js';
import { silentLog } from '../../lab/util/log.js';
import { silentProgress, stderrProgress } from '../../lab/util/progress.js';
import { collect } from '../support/run-builder.js';

/** Compiling sqlite3 on a slow machine that does other things too. */
export const COMPILE_MS = 1_200_000;

export const storeContext = {
  log: silentLog,
  progress: silentProgress,
  signal: new AbortController().signal,
  cacheDir: defaultCacheDir(),
};

/** A folder for each test, and the native parts for all. */
export function useStore(): () => string {
  let folder: string | undefined;
  before(async function () {
    this.timeout(COMPILE_MS);
    await prepareBinding({ ...storeContext, progress: stderrProgress() });
  });
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-store-'));
  });
  afterEach(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });
  return () => {
    if (folder === undefined) throw new Error('the folder is there only within a test');
    return folder;
  };
}

export interface LoadFolderOptions {
  readonly base?: Base;
  /** Of the trace; `run` unless told. */
  readonly name?: string;
  /** False: as if segments were still to come. */
  readonly isEnd?: boolean;
}

/** Loads what lies in a folder, as `index` does. */
export async function loadFolder(folder: string, db: string, options: LoadFolderOptions = {}): Promise<LoadSum> {
  const { base, name = 'run', isEnd = true } = options;
  const store = await SqliteStore.open(db, storeContext);
  try {
    const load = new Load(store, storeContext.signal);
    const sources = await findTraces(folder, name, async () => !isEnd);
    await load.pass(sources.map((source) => ({ ...source, base })));
    await store.finish();
    return load.sum;
  } finally {
    await store.close();
  }
}

/** All rows of an answer. */
export async function rowsOf(db: Pick<QueryDb, 'ask'>, question: Question): Promise<Page> {
  return (await collect((await db.ask(question)).pages)).flat();
}

async function withQueries<T>(db: string, use: (lines: (sql: string) => Promise<string[]>) => Promise<T>): Promise<T> {
  const opened = await QueryDb.open(db, storeContext);
  try {
    return await use(async (sql) =>
      (await rowsOf(opened, { sql, bound: [] })).map((row) => row.map((cell) => cell ?? '-').join(' ')),
    );
  } finally {
    await opened.close();
  }
}

/** The answer to SQL: a line for each row, cells separated by blanks. */
export function ask(db: string, sql: string): Promise<string[]> {
  return withQueries(db, (lines) => lines(sql));
}

/** Every row of every table. */
export function dump(db: string): Promise<string[]> {
  return withQueries(db, async (lines) => {
    const all: string[] = [];
    for (const { name, columns } of TABLES) {
      for (const row of await lines(`SELECT * FROM ${name} ORDER BY ${columns[0].name}`)) all.push(`${name} ${row}`);
    }
    return all;
  });
}

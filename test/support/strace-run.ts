// SPDX-License-Identifier: MIT
/** A run in which programs ran under strace, and strace's files: `MODE/PROGRAM/t.TID`, MODE is `raw` for numbers alone. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { eventsOf } from '../../lab/trace/events.js';
import {
  callsOf,
  compareThread,
  type Entry,
  type Exit,
  newTally,
  type RecordedCall,
  type Tally,
} from './strace-pair.js';
import { parseStrace } from './strace-parse.js';

const EXECVE = 59;

/** Entries and exits of the threads that are wanted, in order. */
async function recordsOf(runDir: string, tids: ReadonlySet<number>): Promise<Map<number, (Entry | Exit)[]>> {
  const records = new Map<number, (Entry | Exit)[]>();
  for await (const { record } of eventsOf(runDir, { kinds: new Set(['entry', 'exit'] as const) })) {
    if ((record.kind !== 'entry' && record.kind !== 'exit') || !tids.has(record.tid)) continue;
    const list = records.get(record.tid);
    if (list === undefined) records.set(record.tid, [record]);
    else list.push(record);
  }
  return records;
}

/** Calls of threads from their last execve() of the 64-bit ABI on that succeeded, itself left out. */
export async function callsOfThreads(runDir: string, tids: ReadonlySet<number>): Promise<Map<number, RecordedCall[]>> {
  const threads = new Map<number, RecordedCall[]>();
  for (const [tid, records] of await recordsOf(runDir, tids)) {
    const calls = callsOf(records);
    const last = calls.findLastIndex((c) => c.entry.abi === '64' && c.entry.nr === EXECVE && c.exit?.ret === 0n);
    threads.set(tid, calls.slice(last + 1));
  }
  return threads;
}

interface StraceFile {
  readonly tid: number;
  readonly where: string;
  readonly text: string;
  readonly isRaw: boolean;
  /** strace's own child: what it does before it executes the program is not traced. */
  readonly isFirst: boolean;
}

async function straceFiles(folder: string): Promise<StraceFile[]> {
  const files: StraceFile[] = [];
  for (const mode of await readdir(folder)) {
    for (const name of await readdir(path.join(folder, mode))) {
      const at = path.join(folder, mode, name);
      const tids = (await readdir(at)).map((file) => Number(file.slice(2))).sort((a, b) => a - b);
      for (const tid of tids)
        files.push({
          tid,
          where: `${mode} ${name} ${tid}`,
          text: await readFile(path.join(at, `t.${tid}`), 'utf8'),
          isRaw: mode === 'raw',
          isFirst: tid === tids[0],
        });
    }
  }
  return files;
}

/** Compares every thread that strace followed. */
export async function compareRun(runDir: string, straceFolder: string): Promise<Tally> {
  const files = await straceFiles(straceFolder);
  const records = await recordsOf(runDir, new Set(files.map((f) => f.tid)));
  const tally = newTally();
  for (const file of files) {
    const calls = callsOf(records.get(file.tid) ?? []);
    const first = file.isFirst ? calls.findIndex((c) => c.entry.nr === EXECVE) : 0;
    compareThread(file.where, parseStrace(file.text), calls.slice(Math.max(first, 0)), file.isRaw, tally);
  }
  return tally;
}

// SPDX-License-Identifier: MIT
/**
 * The folder of a bench, which goes on there if it was interrupted: `cells/`, one file for each that was measured;
 * `lock`, while one works in it; `repeat-of`, if it does a report again: the digest of that one.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { writeAtomically } from '../run/manifest.js';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { tryLock } from '../util/lock.js';
import type { Report } from './report-data.js';

/** What is done again. */
export interface Repeated {
  /** Path of its report.json. */
  readonly file: string;
  readonly report: Report;
}

async function unlessAbsent<T>(work: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return otherwise;
    throw error;
  }
}

/** A folder for a repeat, beside other runs: the first name that nobody has, and nothing was measured in. */
export async function repeatFolder(runsDir: string): Promise<string> {
  const there = new Set(await unlessAbsent(readdir(runsDir), []));
  let number = 1;
  while (there.has(`bench-repeat-${number}`)) number++;
  return path.join(runsDir, `bench-repeat-${number}`);
}

/** Refuses cells that another bench measured: to take them over would be to measure nothing. */
async function beginRepeat(output: string, { file, report }: Repeated): Promise<void> {
  const digest = createHash('sha256').update(JSON.stringify(report)).digest('hex');
  const noted = path.join(output, 'repeat-of');
  const before = (await unlessAbsent(readFile(noted, 'utf8'), '')).trim();
  const cells = await unlessAbsent(readdir(path.join(output, 'cells')), []);
  if (before !== digest && cells.length > 0) {
    throw new LabError('LAB_USAGE', `${output} has ${cells.length} cells, which no repeat of ${file} measured`, {
      next: 'choose another folder with --output, or leave it out',
    });
  }
  await writeAtomically(noted, `${digest}\n`);
}

/** Runs `work` as the only bench of its folder. */
export async function inOutput<T>(output: string, repeated: Repeated | undefined, work: () => Promise<T>): Promise<T> {
  const lock = path.join(output, 'lock');
  let owner: number | 'taken';
  try {
    await mkdir(output, { recursive: true });
    owner = await tryLock(lock);
  } catch (error) {
    throw ioError(`locking ${lock}`, error);
  }
  if (owner !== 'taken') {
    throw new LabError('LAB_RUN_STATE', `process ${owner} is measuring into ${output} already`, {
      next: 'wait for its end, or choose another folder with --output',
    });
  }
  try {
    if (repeated !== undefined) await beginRepeat(output, repeated);
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

// SPDX-License-Identifier: MIT
/**
 * The witness outside of a run: `heads.jsonl` in the data folder gets a line for every entry of a run's signed logs, so
 * that whoever cuts a log's end, or signs a run anew, contradicts it. Copies of it on other machines are worth more.
 */
import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError } from '../util/errors.js';
import type { LogEnd } from './signed-log.js';

export interface WitnessedRun {
  readonly log: 'chain' | 'custody';
  /** Identity of the run, from its first entry. */
  readonly id: string;
  /** Where the run lies. */
  readonly folder: string;
}

/** One short line in one write: appends of several programs do not mix. */
export async function witnessHead(dataDir: string, run: WitnessedRun, end: LogEnd, time: string): Promise<void> {
  const file = path.join(dataDir, 'heads.jsonl');
  const { log, id, folder } = run;
  const line = JSON.stringify({ time, log, id, entries: end.entries, head: end.head, folder });
  try {
    await appendFile(file, `${line}\n`, { flush: true });
  } catch (error) {
    throw ioError(`witnessing in ${file}`, error);
  }
}

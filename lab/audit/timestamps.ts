// SPDX-License-Identifier: MIT
/** Time stamps on the heads of a run's logs: openssl says whether an authority's signature stands. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { SeenLogs } from './heads.js';
import type { Finding } from './log.js';

const FOLDER = 'timestamps';
const run = promisify(execFile);

/** A head that an authority outside saw. */
export interface Stamp {
  readonly file: string;
  readonly log: 'chain' | 'custody';
  /** Of the log, at that time. */
  readonly entries: number;
  /** ISO time. */
  readonly time: string;
}

export interface StampReport {
  readonly findings: readonly Finding[];
  readonly stamps: readonly Stamp[];
  /** Files that nobody looked at, for want of an authority to trust. */
  readonly unchecked: number;
}

/** @param ca PEM file of the authority's certificates; undefined: none is trusted */
export async function checkStamps(dir: string, seen: SeenLogs, ca: string | undefined): Promise<StampReport> {
  const files = listStamps(dir);
  if (ca === undefined) return { findings: [], stamps: [], unchecked: files.length };
  const findings: Finding[] = [];
  const stamps: Stamp[] = [];
  for (const name of files) {
    const file = `${FOLDER}/${name}`;
    const result = await checkStamp(path.join(dir, file), name, seen, ca);
    if (typeof result === 'string') findings.push({ file, at: '', what: result });
    else stamps.push({ file, ...result });
  }
  if (!stamps.some(({ log }) => log === 'chain'))
    findings.push({ file: FOLDER, at: '', what: `holds no good time stamp of the chain by the authority of ${ca}` });
  return { findings, stamps, unchecked: 0 };
}

function listStamps(dir: string): string[] {
  try {
    return readdirSync(path.join(dir, FOLDER)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** What is stamped, or what is wrong. */
async function checkStamp(
  full: string,
  name: string,
  seen: SeenLogs,
  ca: string,
): Promise<Omit<Stamp, 'file'> | string> {
  const [, log, count] = /^(chain|custody)-([1-9]\d*)\.tsr$/.exec(name) ?? [];
  if (log !== 'chain' && log !== 'custody') return 'is no time stamp of a log by its name';
  const entries = Number(count);
  const head = seen[log][entries - 1];
  if (head === undefined) return `is of ${entries} entries, and ${log}.jsonl has ${seen[log].length}: it was cut`;
  try {
    await run('openssl', ['ts', '-verify', '-digest', head, '-in', full, '-CAfile', ca]);
    const { stdout } = await run('openssl', ['ts', '-reply', '-in', full, '-text']);
    const time = new Date(/^Time stamp: (.*)$/m.exec(stdout)?.[1] ?? '');
    if (Number.isNaN(time.getTime())) return 'has no time that is understood';
    return { log, entries, time: time.toISOString() };
  } catch (error) {
    const { stderr } = error as { readonly stderr?: unknown };
    if (typeof stderr !== 'string') throw error;
    const reasons = [...stderr.matchAll(/:error:[^:]*:[^:]*:[^:]*:([^:]*):/g)].map(([, reason]) => reason);
    return `is no stamp of entry ${entries - 1} of ${log}.jsonl by that authority: ${reasons.join('; ') || stderr.trim()}`;
  }
}

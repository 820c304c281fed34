// SPDX-License-Identifier: MIT
/**
 * What a witness outside of the run says about it: a head that was written down, a file of them, or what a server keeps
 * that they were sent to.
 */
import path from 'node:path';
import { headLines } from './kept-heads.js';
import type { Finding } from './log.js';

/** The logs of one run, as they are now. */
export interface SeenLogs {
  readonly folder: string;
  readonly id: string | undefined;
  readonly chain: readonly string[];
  readonly custody: readonly string[];
}

export interface WitnessReport {
  readonly findings: readonly Finding[];
  /** Entries of the chain that the witness vouches for. */
  readonly entries: number;
  /** Identities of other runs that it saw begin in this folder, before this one. */
  readonly earlier: readonly string[];
}

/** A head in hex, and no file of them. */
export function isHead(text: string): boolean {
  return /^[0-9a-f]{64}$/i.test(text);
}

/** A head in hex, as somebody wrote it down. */
export function checkHead(head: string, seen: SeenLogs): WitnessReport {
  const at = seen.chain.indexOf(head.toLowerCase());
  const what = `is the hash of no entry of the chain, whose head is ${seen.chain.at(-1) ?? 'nothing'}`;
  return at < 0
    ? { findings: [{ file: 'the head given', at: '', what }], entries: 0, earlier: [] }
    : { findings: [], entries: at + 1, earlier: [] };
}

/**
 * Heads that were collected, one JSON object a line.
 * @param file of them, or folder of a server
 * @param mustKnow the witness was named: a run it does not know is another run than it should be
 */
export async function checkHeads(file: string, seen: SeenLogs, mustKnow: boolean): Promise<WitnessReport> {
  const findings: Finding[] = [];
  const last = { chain: 0, custody: 0 };
  const wrong = { chain: false, custody: false };
  /** Identity of the run that was last begun in this folder. */
  let begun: string | undefined;
  const all = new Set<string>();
  for await (const line of headLines(file)) {
    const head = parseHead(line);
    if (head === undefined) continue;
    const { log, id, entries, hash, folder } = head;
    if (log === 'chain' && entries === 1 && folder === path.resolve(seen.folder)) {
      begun = id;
      all.add(id);
    }
    if (id !== seen.id) continue;
    last[log] = Math.max(last[log], entries);
    const now = seen[log][entries - 1];
    if (now === hash || wrong[log]) continue;
    wrong[log] = true;
    const what =
      now === undefined
        ? `was cut: the witness ${file} saw ${entries} entries, ${seen[log].length} are there`
        : `is another one than the witness ${file} saw`;
    findings.push({ file: `${log}.jsonl`, at: `entry ${entries - 1}`, what });
  }
  const isOther = begun !== undefined && begun !== seen.id;
  if (isOther || (mustKnow && last.chain === 0)) {
    const what = isOther ? `saw another run begin in this folder: ${begun}` : 'does not know this run';
    findings.push({ file, at: '', what });
  }
  return { findings, entries: last.chain, earlier: isOther ? [] : [...all].filter((id) => id !== seen.id) };
}

/** One line of such a file; undefined for half a line, which a writer that was killed leaves. */
export function parseHead(line: string) {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { log, id, entries, head, folder } = value as Record<string, unknown>;
  if ((log !== 'chain' && log !== 'custody') || typeof id !== 'string' || typeof head !== 'string') return undefined;
  return { log, id, entries: Number(entries), hash: head, folder } as const;
}

/** Runs that a witness saw begin below a folder, and that are not there: an empty folder looks untouched by itself. */
export async function checkGone(witness: string, dir: string, runs: readonly string[]): Promise<Finding[]> {
  const there = new Set(runs);
  const gone = new Map<string, string>();
  for await (const line of headLines(witness)) {
    const head = parseHead(line);
    if (head === undefined || head.log !== 'chain' || typeof head.folder !== 'string') continue;
    if (head.folder.startsWith(`${dir}/`) && !there.has(head.folder)) gone.set(head.folder, head.id);
  }
  return [...gone].map(([folder, id]) => {
    const what = `is gone: the witness ${witness} saw run ${id} there`;
    return { file: path.relative(dir, folder), at: '', what };
  });
}

// SPDX-License-Identifier: MIT
/**
 * Heads as a witness keeps them: a file, one JSON object a line; or what a logging server has that they were sent to, by
 * `docs/evidence.md`. There each stands in an INFO record, as `head=LINE`, and is evidence itself: chained and signed.
 */
import { createReadStream, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { findRuns } from './boots.js';
import { checkChain } from './chain.js';
import { checkFiles } from './files.js';
import type { Finding } from './log.js';
import { infosOf } from './segments.js';

/** A server that keeps heads: of a machine, of one boot of it, or of all. */
export interface Keeper {
  readonly folder: string;
  readonly boots: number;
  /** Public keys in base64 of who began the chains: that this is who it should be, only their fingerprints show. */
  readonly labs: readonly string[];
  /** Where its own chains do not hold. */
  readonly findings: readonly Finding[];
  /** Segments that it has not signed yet. */
  readonly unsigned: readonly { readonly file: string; readonly bytes: number }[];
}

const SEGMENTS = 'segments';
const HEAD = 'head=';

/** Lines of a witness, in the order in which they were sent: boots are named by the time. */
export async function* headLines(witness: string): AsyncGenerator<string, void, void> {
  if (!statSync(witness).isDirectory()) {
    yield* createInterface({ input: createReadStream(witness), crlfDelay: Number.POSITIVE_INFINITY });
    return;
  }
  for (const boot of findRuns(witness)) {
    for (const segment of segmentsOf(boot)) {
      for await (const text of infosOf(path.join(boot, SEGMENTS, segment)))
        if (text.startsWith(HEAD)) yield text.slice(HEAD.length).trimEnd();
    }
  }
}

function segmentsOf(boot: string): string[] {
  if (!readdirSync(boot).includes(SEGMENTS)) return [];
  const names = readdirSync(path.join(boot, SEGMENTS));
  return names.filter((name) => name.endsWith('.seg')).sort();
}

/** Whether what a server keeps is whole; undefined for a file. */
export async function checkKept(witness: string): Promise<Keeper | undefined> {
  if (!statSync(witness).isDirectory()) return undefined;
  const findings: Finding[] = [];
  const unsigned: { file: string; bytes: number }[] = [];
  const labs = new Set<string>();
  const boots = findRuns(witness);
  for (const boot of boots) {
    const chain = await checkChain(boot);
    const files = await checkFiles(boot, chain, { isQuick: false });
    if (chain.lab !== undefined) labs.add(chain.lab);
    for (const { file, at, what } of [...chain.findings, ...files.findings])
      findings.push({ file: path.join(boot, file), at, what: `the witness itself: ${what}` });
    for (const { file, bytes } of files.unsigned)
      if (file.startsWith(`${SEGMENTS}/`)) unsigned.push({ file: path.join(boot, file), bytes });
  }
  return { folder: witness, boots: boots.length, labs: [...labs], findings, unsigned };
}

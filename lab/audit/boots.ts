// SPDX-License-Identifier: MIT
/** Runs in the folder of a logging server: `boots/` of a machine, `machines/` of a storage point. */
import { createReadStream, readdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseHead } from './heads.js';
import type { Finding } from './log.js';

/** What only the folder of a run holds. */
const RUN_FILES = ['run.json', 'chain.jsonl', 'custody.jsonl', 'segments'];

/** Folders of the runs in a folder; of one that is a run, itself. */
export function findRuns(dir: string): string[] {
  const names = readdirSync(dir);
  const kinds = ['boots', 'machines'].filter((kind) => names.includes(kind));
  if (kinds.length === 0 || RUN_FILES.some((file) => names.includes(file))) return [dir];
  const found: string[] = [];
  for (const kind of kinds) {
    for (const entry of readdirSync(path.join(dir, kind), { withFileTypes: true })) {
      const below = path.join(dir, kind, entry.name);
      if (entry.isDirectory()) found.push(...(kind === 'boots' ? [below] : findRuns(below)));
    }
  }
  return found.sort();
}

/** Runs that a witness saw begin below a folder, and that are not there: an empty folder looks untouched by itself. */
export async function checkGone(witness: string, dir: string, runs: readonly string[]): Promise<Finding[]> {
  const there = new Set(runs);
  const gone = new Map<string, string>();
  const lines = createInterface({ input: createReadStream(witness), crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    const head = parseHead(line);
    if (head === undefined || head.log !== 'chain' || typeof head.folder !== 'string') continue;
    if (head.folder.startsWith(`${dir}/`) && !there.has(head.folder)) gone.set(head.folder, head.id);
  }
  return [...gone].map(([folder, id]) => {
    const what = `is gone: the witness ${witness} saw run ${id} there`;
    return { file: path.relative(dir, folder), at: '', what };
  });
}

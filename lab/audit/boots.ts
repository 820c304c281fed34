// SPDX-License-Identifier: MIT
/** Runs in the folder of a logging server: `boots/` of a machine, `machines/` of a storage point. */
import { readdirSync } from 'node:fs';
import path from 'node:path';

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

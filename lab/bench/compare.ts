// SPDX-License-Identifier: MIT
/** What changed from one report to another. Pure. */
import type { Report } from './report-data.js';
import { rankTest } from './statistics.js';
import { type Row, summarise, thingOf } from './summary.js';

/** The deterministic lane's own spread: less is no change. */
const SAME = 0.001;
/** A change of the parallel lane is one if chance alone makes it less often than this. */
const SIGNIFICANCE = 0.01;

export interface Change {
  readonly thing: string;
  readonly config: string;
  readonly before: number;
  readonly after: number;
  /** 0.1 is 10 % more. */
  readonly change: number;
  /** Of the parallel lane: the chance that nothing changed. */
  readonly p: number | undefined;
  readonly isSignificant: boolean;
}

function keyOf(row: Row): string {
  return `${thingOf(row)} ${row.config}`;
}

/** Every row both have, and the names of those that only one has. */
export function compareReports(
  a: Report,
  b: Report,
): { readonly changes: readonly Change[]; readonly onlyOne: readonly string[] } {
  const before = new Map(summarise(a).map((row) => [keyOf(row), row]));
  const after = new Map(summarise(b).map((row) => [keyOf(row), row]));
  const changes: Change[] = [];
  for (const [key, old] of before) {
    const now = after.get(key);
    if (now === undefined) continue;
    const change = now.median / old.median - 1;
    const p = old.lane === 'parallel' ? rankTest(old.samples, now.samples) : undefined;
    const isSignificant = p === undefined ? Math.abs(change) > SAME : p < SIGNIFICANCE;
    changes.push({
      thing: thingOf(old),
      config: old.config,
      before: old.median,
      after: now.median,
      change,
      p,
      isSignificant,
    });
  }
  const onlyOne = [...before.keys()].filter((key) => !after.has(key));
  return { changes, onlyOne: [...onlyOne, ...[...after.keys()].filter((key) => !before.has(key))] };
}

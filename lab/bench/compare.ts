// SPDX-License-Identifier: MIT
/** What changed from one report to another. Pure. */
import { LabError } from '../util/errors.js';
import { differing, type Report } from './report-data.js';
import { rankTest } from './statistics.js';
import { type Fault, faultsOf, placeOf, type Row, summarise, thingOf, unique } from './summary.js';

/** Less is no change of a count of instructions, even where the repeats of both happen to be the same. */
const SAME = 0.001;
/** A change of the parallel lane is one if chance alone makes it less often than this. */
const SIGNIFICANCE = 0.01;

/** `unknown`: there are too few samples to tell. */
export type Verdict = 'changed' | 'same' | 'unknown';

export interface Change {
  readonly thing: string;
  readonly config: string;
  readonly before: number;
  readonly after: number;
  /** Samples of each. */
  readonly samples: readonly [number, number];
  /** 0.1 is 10 % more. */
  readonly change: number;
  /** Of the parallel lane: the chance that nothing changed. */
  readonly p: number | undefined;
  readonly verdict: Verdict;
}

export interface Comparison {
  /** Of every row that both have. */
  readonly changes: readonly Change[];
  /** Names of rows that only one has. */
  readonly onlyOne: readonly string[];
  /** What they were not both measured with: facts of the host, digests, accelerators. */
  readonly differences: readonly string[];
  /** Of either. */
  readonly faults: readonly (Fault & { readonly of: 'before' | 'after' })[];
}

function keyOf(row: Row): string {
  return `${thingOf(row)} ${row.config}`;
}

/** Instructions: no sample of one lies among the other's, and they lie further apart than either's own. */
function verdictOfCounts(old: Row, now: Row): Verdict {
  if (Math.min(old.samples.length, now.samples.length) < 2) return 'unknown';
  const isApart =
    Math.max(...old.samples) < Math.min(...now.samples) || Math.max(...now.samples) < Math.min(...old.samples);
  const change = Math.abs(now.median / old.median - 1);
  return isApart && change > Math.max(SAME, old.spread, now.spread) ? 'changed' : 'same';
}

/** The least that the test can say of so many samples: of those that lie wholly apart. */
function leastChance(a: number, b: number): number {
  const upTo = (n: number, from: number) => Array.from({ length: n }, (_, i) => from + i);
  return rankTest(upTo(a, 0), upTo(b, a));
}

function verdictOfTimes(old: Row, now: Row, p: number): Verdict {
  if (leastChance(old.samples.length, now.samples.length) >= SIGNIFICANCE) return 'unknown';
  return p < SIGNIFICANCE ? 'changed' : 'same';
}

function changeOf(old: Row, now: Row): Change {
  const p = old.lane === 'parallel' ? rankTest(old.samples, now.samples) : undefined;
  return {
    thing: thingOf(old),
    config: old.config,
    before: old.median,
    after: now.median,
    samples: [old.samples.length, now.samples.length],
    change: now.median / old.median - 1,
    p,
    verdict: p === undefined ? verdictOfCounts(old, now) : verdictOfTimes(old, now, p),
  };
}

function differences(a: Report, b: Report): string[] {
  const placesOf = (report: Report) => unique(summarise(report).map(placeOf)).sort().join(', ');
  return [
    ...differing(a.host, b.host).map((name) => `host, ${name}: ${a.host[name]} and ${b.host[name]}`),
    ...differing(a.digests, b.digests).map((name) => `another ${name}`),
    ...(placesOf(a) === placesOf(b) ? [] : [`lanes: ${placesOf(a)} and ${placesOf(b)}`]),
  ];
}

/** LAB_USAGE where the two did not do the same work. */
export function compareReports(a: Report, b: Report): Comparison {
  if (a.options.size !== b.options.size) {
    throw new LabError('LAB_USAGE', `one did the work of size ${a.options.size}, the other of ${b.options.size}`, {
      next: 'compare two of `bench --quick`, or two without it',
    });
  }
  const before = new Map(summarise(a).map((row) => [keyOf(row), row]));
  const after = new Map(summarise(b).map((row) => [keyOf(row), row]));
  return {
    changes: [...before].flatMap(([key, old]) => {
      const now = after.get(key);
      return now === undefined ? [] : [changeOf(old, now)];
    }),
    onlyOne: [
      ...[...before.keys()].filter((key) => !after.has(key)),
      ...[...after.keys()].filter((key) => !before.has(key)),
    ],
    differences: differences(a, b),
    faults: [
      ...faultsOf(a).map((fault) => ({ ...fault, of: 'before' as const })),
      ...faultsOf(b).map((fault) => ({ ...fault, of: 'after' as const })),
    ],
  };
}

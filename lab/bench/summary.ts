// SPDX-License-Identifier: MIT
/** The matrix made of a report's samples: one row for each lane, thing measured and configuration. Pure. */
import { type BaselineName, type BenchConfigName, baselineOf } from './configs.js';
import type { DoneCell, Lane, Report } from './report-data.js';
import { median, medianInterval, spread } from './statistics.js';

export interface Row {
  readonly lane: Lane;
  readonly workload: string;
  readonly label: string;
  readonly config: BenchConfigName;
  readonly baseline: BaselineName;
  /** Instructions on the deterministic lane, seconds on the parallel one. */
  readonly samples: readonly number[];
  readonly median: number;
  /** Of the median; undefined: too few samples. */
  readonly interval: { readonly low: number; readonly high: number } | undefined;
  readonly spread: number;
  readonly perUnit: number;
  /** Against the baseline's median: 0.05 is 5 % more; undefined where that was not measured. */
  readonly overhead: number | undefined;
  /** Medians; deterministic lane only. */
  readonly user: number | undefined;
  readonly kernel: number | undefined;
}

function doneCells(report: Report): DoneCell[] {
  return report.cells.filter((cell): cell is DoneCell => cell.state === 'done');
}

/** Key of what is compared: the same thing on the same lane. */
export function thingOf(row: Pick<Row, 'lane' | 'workload' | 'label'>): string {
  return `${row.lane} ${row.workload} ${row.label}`;
}

function without<T>(values: readonly (T | null)[]): T[] {
  return values.filter((value): value is T => value !== null);
}

/** All rows, in the order of the report's cells. */
export function summarise(report: Report): Row[] {
  const groups = new Map<string, { cell: DoneCell; label: string; spans: DoneCell['spans'][number][] }>();
  for (const cell of doneCells(report)) {
    for (const span of cell.spans) {
      const key = `${thingOf({ ...cell, label: span.label })} ${cell.config}`;
      const group = groups.get(key) ?? { cell, label: span.label, spans: [] };
      group.spans.push(span);
      groups.set(key, group);
    }
  }
  const rows = [...groups.values()].map(({ cell, label, spans }): Row => {
    const isCounted = cell.lane === 'deterministic';
    const samples = spans.map((span) => (isCounted ? (span.user ?? 0) + (span.kernel ?? 0) : span.seconds));
    const middle = median(samples);
    return {
      lane: cell.lane,
      workload: cell.workload,
      label,
      config: cell.config,
      baseline: baselineOf(cell.config),
      samples,
      median: middle,
      interval: medianInterval(samples),
      spread: spread(samples),
      perUnit: middle / (spans[0]?.units ?? 1),
      overhead: undefined,
      user: isCounted ? median(without(spans.map(({ user }) => user))) : undefined,
      kernel: isCounted ? median(without(spans.map(({ kernel }) => kernel))) : undefined,
    };
  });
  const keyOf = (row: Row) => `${thingOf(row)} ${row.baseline}`;
  const base = new Map(
    rows.filter(({ config, baseline }) => config === baseline).map((row) => [keyOf(row), row.median]),
  );
  return rows.map((row) => {
    const plain = base.get(keyOf(row));
    return plain === undefined ? row : { ...row, overhead: row.median / plain - 1 };
  });
}

/** What recording costs in bytes and CPU, of one workload in one configuration: of its first repeat. */
export interface RecordRow {
  readonly lane: Lane;
  readonly workload: string;
  readonly config: BenchConfigName;
  readonly cell: DoneCell & { readonly trace: NonNullable<DoneCell['trace']> };
}

/** What another recorder left, of one workload: of its first repeat. */
export interface RivalRow {
  readonly lane: Lane;
  readonly workload: string;
  readonly config: BenchConfigName;
  readonly rival: NonNullable<DoneCell['rival']>;
}

export function rivalRows(report: Report): RivalRow[] {
  return doneCells(report).flatMap(({ lane, workload, config, repeat, rival }) =>
    rival === null || repeat > 0 ? [] : [{ lane, workload, config, rival }],
  );
}

export function recordRows(report: Report): RecordRow[] {
  return doneCells(report).flatMap((cell) =>
    cell.trace === null || cell.repeat > 0
      ? []
      : [{ lane: cell.lane, workload: cell.workload, config: cell.config, cell: { ...cell, trace: cell.trace } }],
  );
}

/** A hook's cost: instructions of one function of the kernel, here and more than in the baseline. */
export interface ProfileRow {
  readonly name: string;
  readonly instructions: number;
  readonly more: number;
}

/** The functions that cost most beyond the baseline, of one thing in one configuration on the deterministic lane. */
export function profile(report: Report, workload: string, label: string, config: BenchConfigName): ProfileRow[] {
  const functionsOf = (name: BenchConfigName) =>
    doneCells(report)
      .find((cell) => cell.lane === 'deterministic' && cell.workload === workload && cell.config === name)
      ?.spans.find((span) => span.label === label)?.functions ?? {};
  const here = functionsOf(config);
  const plain = functionsOf(baselineOf(config));
  return Object.entries(here)
    .map(([name, instructions]) => ({ name, instructions, more: instructions - (plain[name] ?? 0) }))
    .sort((a, b) => b.more - a.more);
}

// SPDX-License-Identifier: MIT
/** The matrix made of a report's samples: one row for each lane, thing measured and configuration. Pure. */
import { type BaselineName, type BenchConfigName, baselineOf } from './configs.js';
import type { Cell, DoneCell, Lane, Report } from './report-data.js';
import { median, medianInterval, spread } from './statistics.js';

export interface Row {
  readonly lane: Lane;
  /** Of its guests. */
  readonly accelerator: string;
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
  /** Units in a second; parallel lane only. */
  readonly perSecond: number | undefined;
  /** Against the baseline's median: 0.05 is 5 % more; undefined where that was not measured. */
  readonly overhead: number | undefined;
  /** `interval` against the baseline's median, whose own interval is not in it. */
  readonly overheadInterval: { readonly low: number; readonly high: number } | undefined;
  /** Medians; deterministic lane only. */
  readonly user: number | undefined;
  readonly kernel: number | undefined;
}

function doneCells(report: Report): DoneCell[] {
  return report.cells.filter((cell): cell is DoneCell => cell.state === 'done');
}

/** Whose costs may be put side by side: time depends on what executes a guest, a count of instructions does not. */
export function placeOf({ lane, accelerator }: Pick<Row, 'lane' | 'accelerator'>): string {
  return lane === 'parallel' ? `parallel (${accelerator})` : lane;
}

/** Key of what is compared: the same thing in the same place. */
export function thingOf(row: Pick<Row, 'lane' | 'accelerator' | 'workload' | 'label'>): string {
  return `${placeOf(row)} ${row.workload} ${row.label}`;
}

export function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
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
    const units = spans[0]?.units ?? 1;
    return {
      lane: cell.lane,
      accelerator: cell.accelerator,
      workload: cell.workload,
      label,
      config: cell.config,
      baseline: baselineOf(cell.config),
      samples,
      median: middle,
      interval: medianInterval(samples),
      spread: spread(samples),
      perUnit: middle / units,
      perSecond: isCounted ? undefined : units / middle,
      overhead: undefined,
      overheadInterval: undefined,
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
    if (plain === undefined) return row;
    const { interval } = row;
    const overheadInterval = interval && { low: interval.low / plain - 1, high: interval.high / plain - 1 };
    return { ...row, overhead: row.median / plain - 1, overheadInterval };
  });
}

/** The repeats of one workload in one configuration. */
interface Repeats {
  readonly lane: Lane;
  readonly accelerator: string;
  readonly workload: string;
  readonly config: BenchConfigName;
}

/** What recording costs in bytes and CPU. */
export interface RecordRow extends Repeats {
  /** Of the first repeat that came to its end. */
  readonly trace: NonNullable<DoneCell['trace']>;
  readonly lab: DoneCell['lab'];
  /** Of all repeats: declared lost, and neither recorded nor declared. */
  readonly lost: number;
  readonly missing: number;
  /** Of a repeat whose disk was rebuilt, one that differs before others; null: nobody's was. */
  readonly rebuild: DoneCell['rebuild'];
  readonly database: DoneCell['database'];
}

/** What another recorder left. */
export interface RivalRow extends Repeats {
  /** Of the first repeat that came to its end, but what was lost of all. */
  readonly rival: NonNullable<DoneCell['rival']>;
}

function repeatsOf(report: Report): (Repeats & { readonly cells: readonly DoneCell[] })[] {
  const groups = new Map<string, DoneCell[]>();
  for (const cell of doneCells(report)) {
    const key = thingOf({ ...cell, label: cell.config });
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()].flatMap((cells) =>
    cells
      .slice(0, 1)
      .map(({ lane, accelerator, workload, config }) => ({ lane, accelerator, workload, config, cells })),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function rivalRows(report: Report): RivalRow[] {
  return repeatsOf(report).flatMap(({ cells, ...of }) => {
    const rivals = without(cells.map(({ rival }) => rival));
    return rivals
      .slice(0, 1)
      .map((first) => ({ ...of, rival: { ...first, lost: sum(rivals.map(({ lost }) => lost)) } }));
  });
}

export function recordRows(report: Report): RecordRow[] {
  return repeatsOf(report).flatMap(({ cells, ...of }) => {
    const traces = without(cells.map(({ trace }) => trace));
    const rebuilt = without(cells.map(({ rebuild }) => rebuild));
    const [first] = cells;
    const [trace] = traces;
    if (first === undefined || trace === undefined) return [];
    return {
      ...of,
      trace,
      lab: first.lab,
      lost: sum(traces.map(({ lost }) => lost)),
      missing: sum(traces.map(({ missing }) => missing)),
      rebuild: rebuilt.find(({ isEqual }) => !isEqual) ?? rebuilt[0] ?? null,
      database: without(cells.map(({ database }) => database))[0] ?? null,
    };
  });
}

/** What is wrong with a cell. */
export interface Fault {
  readonly cell: string;
  readonly why: string;
  /** Where its run is kept. */
  readonly runDir: string | null;
}

function faultOf(cell: Cell): string | undefined {
  if (cell.state === 'failed') return cell.error;
  const { trace, rebuild } = cell;
  const wrong = [
    ...(trace !== null && trace.lost + trace.missing > 0
      ? [`${trace.lost} records lost, ${trace.missing} more missing`]
      : []),
    ...(rebuild?.isEqual === false ? [`the rebuilt disk has ${rebuild.differences} differences`] : []),
  ];
  return wrong.length === 0 ? undefined : wrong.join('; ');
}

/** Cells that failed, lost records or whose disk was not rebuilt exactly. */
export function faultsOf(report: Report): Fault[] {
  return report.cells.flatMap((cell) => {
    const why = faultOf(cell);
    const name = `${cell.lane}, ${cell.workload}, ${cell.config}, repeat ${cell.repeat + 1}`;
    return why === undefined ? [] : [{ cell: name, why, runDir: cell.runDir }];
  });
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

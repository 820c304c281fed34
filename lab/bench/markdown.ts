// SPDX-License-Identifier: MIT
/** The matrix as Markdown, for a README. Pure. */
import { table } from '../abi/markdown.js';
import { BASELINES, type BaselineName, type BenchConfigName, baselineOf, TRACEABLE } from './configs.js';
import { amount, bytes, percent } from './format.js';
import { LANES, type Lane, type Report, type RivalFigures } from './report-data.js';
import { findRival } from './rivals.js';
import { type Row, recordRows, rivalRows, summarise } from './summary.js';

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

function costOf(row: Row | undefined): string {
  if (row === undefined) return 'failed';
  if (row.config !== row.baseline && row.overhead !== undefined) return percent(row.overhead);
  return row.lane === 'deterministic' ? amount(row.median) : `${row.median.toPrecision(3)} s`;
}

/** Columns of what a configuration left: head, and those of one configuration. */
interface Left {
  readonly head: readonly string[];
  readonly of: (report: Report, lane: Lane, config: BenchConfigName) => readonly string[];
}

function recordOf(report: Report, lane: Lane, config: BenchConfigName): readonly string[] {
  const ours = recordRows(report).filter((row) => row.lane === lane && row.config === config);
  if (ours.length === 0) return ['', ''];
  const events = ours.reduce((sum, { cell }) => sum + cell.trace.events, 0);
  const lost = ours.reduce((sum, { cell }) => sum + cell.trace.lost + cell.trace.missing, 0);
  const isExact = ours.every(({ cell }) => cell.rebuild?.isEqual === true);
  return [`${amount(events)}${lost === 0 ? '' : `, ${lost} lost`}`, isExact ? 'exact' : 'not exact'];
}

function rivalOf(report: Report, lane: Lane, config: BenchConfigName): readonly string[] {
  const ours = rivalRows(report).filter((row) => row.lane === lane && row.config === config);
  const row = findRival(config);
  if (ours.length === 0 || row === undefined) return ['', '', '', '', ''];
  const sum = (what: keyof RivalFigures) => ours.reduce((total, { rival }) => total + rival[what], 0);
  return [amount(sum('calls')), amount(sum('lost')), bytes(sum('bytes')), row.arguments, row.written];
}

const LEFT: Readonly<Record<BaselineName, Left>> = {
  vanilla: { head: ['events', 'disk rebuilt'], of: recordOf },
  [TRACEABLE]: { head: ['calls', 'lost', 'trace', 'arguments', 'written bytes'], of: rivalOf },
};

/** One table for each lane and baseline: configurations down, what was measured across. */
export function matrixMarkdown(report: Report): string {
  const rows = summarise(report);
  return LANES.filter((lane) => report.options.lanes.includes(lane))
    .flatMap((lane) =>
      BASELINES.flatMap((baseline) => {
        const configs = report.options.configs.filter((config) => baselineOf(config) === baseline);
        if (configs.length === 0) return [];
        const ours = rows.filter((row) => row.lane === lane && row.baseline === baseline);
        const things = unique(ours.map(({ workload, label }) => (workload === label ? label : `${workload} ${label}`)));
        const body = configs.map((config) => [
          config,
          ...things.map((thing) =>
            costOf(
              ours.find((row) => row.config === config && [row.label, `${row.workload} ${row.label}`].includes(thing)),
            ),
          ),
          ...LEFT[baseline].of(report, lane, config),
        ]);
        return [`${table(['configuration', ...things, ...LEFT[baseline].head], body)}\n`];
      }),
    )
    .join('\n');
}

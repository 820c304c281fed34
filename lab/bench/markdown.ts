// SPDX-License-Identifier: MIT
/** The matrix as Markdown, for a README. Pure. */
import { table } from '../abi/markdown.js';
import { amount, percent } from './format.js';
import { LANES, type Report } from './report-data.js';
import { BASELINE, type RecordRow, type Row, recordRows, summarise } from './summary.js';

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

function costOf(row: Row | undefined): string {
  if (row === undefined) return 'failed';
  if (row.config !== BASELINE && row.overhead !== undefined) return percent(row.overhead);
  return row.lane === 'deterministic' ? amount(row.median) : `${row.median.toPrecision(3)} s`;
}

function recordOf(records: readonly RecordRow[], config: string): [string, string] {
  const ours = records.filter((row) => row.config === config);
  if (ours.length === 0) return ['', ''];
  const events = ours.reduce((sum, { cell }) => sum + cell.trace.events, 0);
  const lost = ours.reduce((sum, { cell }) => sum + cell.trace.lost + cell.trace.missing, 0);
  const isExact = ours.every(({ cell }) => cell.rebuild?.isEqual === true);
  return [`${amount(events)}${lost === 0 ? '' : `, ${lost} lost`}`, isExact ? 'exact' : 'not exact'];
}

/** One table for each lane: configurations down, what was measured across. */
export function matrixMarkdown(report: Report): string {
  const rows = summarise(report);
  return LANES.filter((lane) => report.options.lanes.includes(lane))
    .map((lane) => {
      const ours = rows.filter((row) => row.lane === lane);
      const records = recordRows(report).filter((row) => row.lane === lane);
      const things = unique(ours.map(({ workload, label }) => (workload === label ? label : `${workload} ${label}`)));
      const head = ['configuration', ...things, 'events', 'disk rebuilt'];
      const body = report.options.configs.map((config) => [
        config,
        ...things.map((thing) =>
          costOf(
            ours.find((row) => row.config === config && [row.label, `${row.workload} ${row.label}`].includes(thing)),
          ),
        ),
        ...recordOf(records, config),
      ]);
      return `${table(head, body)}\n`;
    })
    .join('\n');
}

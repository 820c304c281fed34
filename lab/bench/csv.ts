// SPDX-License-Identifier: MIT
/** The matrix and all samples as CSV (RFC 4180). Pure. */
import type { Report } from './report-data.js';
import { summarise } from './summary.js';

function field(value: string | number | undefined): string {
  const text = value === undefined ? '' : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv(rows: readonly (readonly (string | number | undefined)[])[]): string {
  return rows.map((row) => `${row.map(field).join(',')}\r\n`).join('');
}

const UNIT = { deterministic: 'instructions', parallel: 'seconds' } as const;

/** One line for each thing measured in each configuration. */
export function matrixCsv(report: Report): string {
  return csv([
    [
      'lane',
      'accelerator',
      'workload',
      'thing',
      'config',
      'unit',
      'n',
      'median',
      'low95',
      'high95',
      'spread',
      'user',
      'kernel',
      'per_unit',
      'per_second',
      'baseline',
      'overhead',
      'overhead_low95',
      'overhead_high95',
    ],
    ...summarise(report).map((row) => [
      row.lane,
      row.accelerator,
      row.workload,
      row.label,
      row.config,
      UNIT[row.lane],
      row.samples.length,
      row.median,
      row.interval?.low,
      row.interval?.high,
      row.spread,
      row.user,
      row.kernel,
      row.perUnit,
      row.perSecond,
      row.baseline,
      row.overhead,
      row.overheadInterval?.low,
      row.overheadInterval?.high,
    ]),
  ]);
}

/** One line for each sample. */
export function samplesCsv(report: Report): string {
  return csv([
    ['lane', 'accelerator', 'workload', 'thing', 'config', 'sample', 'value'],
    ...summarise(report).flatMap((row) =>
      row.samples.map((value, i) => [row.lane, row.accelerator, row.workload, row.label, row.config, i, value]),
    ),
  ]);
}

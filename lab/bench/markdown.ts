// SPDX-License-Identifier: MIT
/** The matrix as Markdown, for a README. Pure. */
import { table } from '../abi/markdown.js';
import { BASELINES, type BaselineName, type BenchConfigName, baselineOf, TRACEABLE } from './configs.js';
import { amount, bytes } from './format.js';
import { costOf, LANE_TEXT } from './lane-text.js';
import { LANES, type Report, type RivalFigures } from './report-data.js';
import { findRival } from './rivals.js';
import { placeOf, type RecordRow, type Row, recordRows, rivalRows, summarise, unique } from './summary.js';

/** Columns of what a configuration left: head, and those of one configuration in one place (`placeOf`). */
interface Left {
  readonly head: readonly string[];
  readonly of: (report: Report, place: string, config: BenchConfigName) => readonly string[];
}

/** Of several workloads the worst: one that differs, then one that nobody rebuilt. */
function rebuiltOf(rows: readonly RecordRow[]): string {
  if (rows.some(({ rebuild }) => rebuild?.isEqual === false)) return 'not exact';
  return rows.some(({ rebuild }) => rebuild === null) ? 'not verified' : 'exact';
}

function recordOf(report: Report, place: string, config: BenchConfigName): readonly string[] {
  const ours = recordRows(report).filter((row) => placeOf(row) === place && row.config === config);
  if (ours.length === 0) return ['', ''];
  const events = ours.reduce((sum, { trace }) => sum + trace.events, 0);
  const lost = ours.reduce((sum, row) => sum + row.lost + row.missing, 0);
  return [`${amount(events)}${lost === 0 ? '' : `, ${lost} lost`}`, rebuiltOf(ours)];
}

function rivalOf(report: Report, place: string, config: BenchConfigName): readonly string[] {
  const ours = rivalRows(report).filter((row) => placeOf(row) === place && row.config === config);
  const row = findRival(config);
  if (ours.length === 0 || row === undefined) return ['', '', '', '', ''];
  const sum = (what: keyof RivalFigures) => ours.reduce((total, { rival }) => total + rival[what], 0);
  return [amount(sum('calls')), amount(sum('lost')), bytes(sum('bytes')), row.arguments, row.written];
}

const LEFT: Readonly<Record<BaselineName, Left>> = {
  vanilla: { head: ['events', 'disk rebuilt'], of: recordOf },
  [TRACEABLE]: { head: ['calls', 'lost', 'trace', 'arguments', 'written bytes'], of: rivalOf },
};

function nameOf({ workload, label }: Row): string {
  return workload === label ? label : `${workload} ${label}`;
}

/** For each lane, accelerator and baseline a heading and two tables: configurations down, what was measured across. */
export function matrixMarkdown(report: Report): string {
  const rows = summarise(report);
  return LANES.filter((lane) => report.options.lanes.includes(lane))
    .flatMap((lane) => {
      const { title, unit, more } = LANE_TEXT[lane];
      const places = unique(rows.filter((row) => row.lane === lane).map(placeOf));
      if (places.length === 0) return [`## ${title}\n`, 'Nothing came to its end.\n'];
      return places.flatMap((place) =>
        BASELINES.flatMap((baseline) => {
          const configs = report.options.configs.filter((config) => baselineOf(config) === baseline);
          if (configs.length === 0) return [];
          const ours = rows.filter((row) => placeOf(row) === place && row.baseline === baseline);
          const things = unique(ours.map(nameOf));
          const cells = (config: BenchConfigName, of: (row: Row) => string) =>
            things.map((thing) => {
              const row = ours.find((one) => one.config === config && nameOf(one) === thing);
              return row === undefined ? 'failed' : of(row);
            });
          const costs = configs.map((config) => [
            config,
            ...cells(config, costOf),
            ...LEFT[baseline].of(report, place, config),
          ]);
          const others = configs.map((config) => [config, ...cells(config, more.of)]);
          const accelerators = unique(ours.map(({ accelerator }) => accelerator)).join(', ');
          return [
            `## ${title}${accelerators === '' ? '' : ` (${accelerators})`}, against ${baseline}\n`,
            `In ${unit}; what is not ${baseline} as how much more.\n`,
            `${table(['configuration', ...things, ...LEFT[baseline].head], costs)}\n`,
            `${more.title}:\n`,
            `${table(['configuration', ...things], others)}\n`,
          ];
        }),
      );
    })
    .join('\n');
}

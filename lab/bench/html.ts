// SPDX-License-Identifier: MIT
/** The report as one page without anything outside it, for a screen, a phone and paper. Pure. */
import { BASELINES, type BaselineName, type BenchConfigName, TRACEABLE } from './configs.js';
import { amount, bytes, percent, seconds } from './format.js';
import { costOf, LANE_TEXT } from './lane-text.js';
import type { OverheadPlot } from './plots.js';
import { LANES, type Report } from './report-data.js';
import { findRival } from './rivals.js';
import {
  faultsOf,
  placeOf,
  profile,
  type RecordRow,
  type RivalRow,
  type Row,
  recordRows,
  rivalRows,
  summarise,
  unique,
} from './summary.js';

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.5rem 0 1.5rem; }
th, td { padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.bad { color: #c00; font-weight: 600; }
/* Plots are black on white, whatever the page is. */
svg { max-width: 100%; height: auto; color: #000; background: #fff; }
code { font-size: 0.85em; }
@page { size: landscape; margin: 1cm; }
@media print { body { max-width: none; } .wide { overflow: visible; } table { font-size: 0.6rem; } section { break-inside: avoid; } }
`;

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] ?? c);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]) => row.map((cell) => `<${tag}>${cell}</${tag}>`).join('');
  const body = rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n');
  return `<div class="wide"><table><tr>${cells('th', head)}</tr>\n${body}</table></div>`;
}

/** Configurations down, things across. */
function laneTable(rows: readonly Row[], of: (row: Row) => string): string {
  const configs = unique(rows.map(({ config }) => config));
  const things = unique(rows.map(({ label }) => label));
  return table(
    ['', ...things.map(escapeHtml)],
    configs.map((config) => [
      escapeHtml(config),
      ...things.map((thing) => {
        const row = rows.find((one) => one.label === thing && one.config === config);
        return row === undefined ? '–' : of(row);
      }),
    ]),
  );
}

function repeatTable(rows: readonly Row[]): string {
  const repeated = rows.filter((row) => row.samples.length > 1);
  if (repeated.length === 0) return '';
  const worst = [...repeated].sort((a, b) => b.spread - a.spread).slice(0, 10);
  return `<h4>How far repeats differ</h4>${table(
    ['thing', 'configuration', 'repeats', 'largest difference'],
    worst.map((row) => [escapeHtml(row.label), row.config, String(row.samples.length), percent(row.spread)]),
  )}`;
}

function profileTable(report: Report, workload: string, rows: readonly Row[]): string {
  const costliest = rows
    .filter((row) => row.lane === 'deterministic' && row.config !== row.baseline && row.overhead !== undefined)
    .sort((a, b) => (b.overhead ?? 0) - (a.overhead ?? 0))[0];
  if (costliest === undefined) return '';
  const top = profile(report, workload, costliest.label, costliest.config).slice(0, 15);
  return `<h4>Where the instructions go: ${escapeHtml(costliest.label)}, ${costliest.config}</h4>${table(
    ['function of the kernel', 'instructions', `more than ${costliest.baseline}`],
    top.map(({ name, instructions, more }) => [`<code>${escapeHtml(name)}</code>`, amount(instructions), amount(more)]),
  )}`;
}

const BASELINE_TEXT: Readonly<Record<BaselineName, string>> = {
  vanilla: '',
  [TRACEABLE]: `Other recorders: their guest has the options that they need in its kernel, and ${TRACEABLE} is that guest with
none of them at work.`,
};

/** Of rows that may be put side by side (`placeOf`). */
function placeSection(report: Report, rows: readonly Row[], plots: readonly OverheadPlot[]): string {
  const [first] = rows;
  if (first === undefined) return '';
  const { lane, accelerator } = first;
  const { title, about, unit, more } = LANE_TEXT[lane];
  const sections = BASELINES.flatMap((baseline) => {
    const compared = rows.filter((row) => row.baseline === baseline);
    return unique(compared.map(({ workload }) => workload)).map((workload) => {
      const some = compared.filter((row) => row.workload === workload);
      const plot = plots.find(
        (one) => one.place === placeOf(first) && one.workload === workload && one.baseline === baseline,
      );
      return `<section><h3>${escapeHtml(workload)}, against ${baseline}</h3><p>${BASELINE_TEXT[baseline]}</p>
${laneTable(some, costOf)}${plot?.svg ?? ''}
<h4>${more.title}</h4>${laneTable(some, more.of)}
${repeatTable(some)}${lane === 'deterministic' ? profileTable(report, workload, some) : ''}</section>`;
    });
  });
  return `<h2>${title} (${escapeHtml(accelerator)})</h2><p>${about} The baseline's row is in ${unit}, the others say how
much more it is.</p>
${sections.join('\n')}`;
}

function rivalSection(rows: readonly RivalRow[]): string {
  if (rows.length === 0) return '';
  return `<h2>What other recorders left</h2><p>Calls are those that the trace holds: strace and perf trace follow the work's
processes, the others record the whole guest. Lost is what the recorder itself says, in its own units.</p>
${table(
  ['workload, lane', 'recorder', 'calls', 'lost', 'trace', 'arguments', 'written bytes'],
  rows.map(({ rival, config, ...row }) => [
    escapeHtml(`${row.workload}, ${placeOf(row)}`),
    config,
    amount(rival.calls),
    bad(rival.lost > 0, amount(rival.lost)),
    bytes(rival.bytes),
    escapeHtml(findRival(config)?.arguments ?? ''),
    escapeHtml(findRival(config)?.written ?? ''),
  ]),
)}`;
}

function bad(isBad: boolean, text: string): string {
  return isBad ? `<span class="bad">${text}</span>` : text;
}

function rebuiltText({ rebuild }: RecordRow): string {
  if (rebuild === null) return 'not verified';
  return bad(!rebuild.isEqual, rebuild.isEqual ? 'exact' : `${rebuild.differences} differences`);
}

function lostText({ lost, missing }: RecordRow): string {
  return bad(lost + missing > 0, missing === 0 ? String(lost) : `${lost} + ${missing} undeclared`);
}

function recordSection(rows: readonly RecordRow[]): string {
  if (rows.length === 0) return '';
  const head = ['workload, lane', 'configuration'];
  const nameOf = (row: RecordRow) => [`${escapeHtml(row.workload)}, ${escapeHtml(placeOf(row))}`, row.config];
  const record = rows.map((row) => {
    const { trace } = row;
    const each = (total: number) => (total / trace.events).toFixed(1);
    return [
      ...nameOf(row),
      amount(trace.events),
      bytes(trace.bytes),
      each(trace.bytes),
      each(trace.fixedBytes),
      each(trace.compressedFixedBytes),
      lostText(row),
      rebuiltText(row),
    ];
  });
  const server = rows.map((row) => [
    ...nameOf(row),
    String(row.trace.segments),
    bytes(row.trace.meanSegmentBytes),
    seconds(row.lab.cpuSeconds),
    bytes(row.lab.peakBytes),
    bytes(row.lab.writtenBytes),
    row.database === null ? '–' : `${amount(row.database.entries)}, ${bytes(row.database.bytes)}`,
  ]);
  return `<h2>The record</h2><p>Sizes are of all that was recorded while the guest ran, its boot included, in the first
repeat; "without parameters" leaves out arguments, paths, buffers and written content, as the paper counts; "compressed" is
zstd's default. What was lost is of all repeats together.</p>
${table([...head, 'events', 'bytes', 'B an event', 'without parameters', 'compressed', 'lost', 'rebuilt disk'], record)}
<h3>The logging server</h3><p>CPU, memory and writes are those of the process that took the record, Node.js itself included,
and of the intake that receives for it where the record comes by a socket; "database" is entries, and the size of the file.</p>
${table([...head, 'log files', 'bytes of one', 'CPU', 'memory', 'written', 'database'], server)}`;
}

function kindsSection(rows: readonly RecordRow[]): string {
  const chosen = rows.filter((row) => row.config === ('static-relay' satisfies BenchConfigName));
  if (chosen.length === 0) return '';
  return `<h3>By kind: static-relay</h3>${chosen
    .map(
      (row) =>
        `<h4>${escapeHtml(`${row.workload}, ${placeOf(row)}`)}</h4>${table(
          ['kind', 'events', 'bytes', 'B an event', 'without parameters'],
          row.trace.kinds.map((kind) => [
            kind.kind,
            amount(kind.events),
            bytes(kind.bytes),
            (kind.bytes / kind.events).toFixed(1),
            (kind.fixedBytes / kind.events).toFixed(1),
          ]),
        )}`,
    )
    .join('\n')}`;
}

function faults(report: Report): string {
  const found = faultsOf(report);
  if (found.length === 0) return '';
  return `<h2 class="bad">Cells that failed, or whose record is not good</h2>${table(
    ['cell', 'why', 'kept in'],
    found.map(({ cell, why, runDir }) => [
      escapeHtml(cell),
      escapeHtml(why),
      runDir === null ? '–' : `<code>${escapeHtml(runDir)}</code>`,
    ]),
  )}`;
}

function facts(report: Report): string {
  const seed = report.seed === null ? {} : { 'seed of the deterministic lane': String(report.seed) };
  const rows = Object.entries({ ...report.host, ...seed, ...report.digests });
  return `<h2>Made with</h2><p><code>${escapeHtml(report.command)}</code>, ${escapeHtml(report.created)}.
<code>./lemona bench --repeat report.json</code> does it again.</p>${table(
    ['', ''],
    rows.map(([name, text]) => [escapeHtml(name), `<code>${escapeHtml(text)}</code>`]),
  )}`;
}

/** The whole page. */
export function reportHtml(report: Report, plots: readonly OverheadPlot[]): string {
  const rows = summarise(report);
  const records = recordRows(report);
  const places = LANES.flatMap((lane) => unique(rows.filter((row) => row.lane === lane).map(placeOf)));
  const ofPlace = (place: string) => rows.filter((row) => placeOf(row) === place);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lemona: what recording costs</title><style>${STYLE}</style></head><body>
<h1>What recording costs</h1>
${faults(report)}
${places.map((place) => placeSection(report, ofPlace(place), plots)).join('\n')}
${recordSection(records)}
${kindsSection(records)}
${rivalSection(rivalRows(report))}
${facts(report)}
</body></html>
`;
}

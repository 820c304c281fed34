// SPDX-License-Identifier: MIT
/** The report as one page without anything outside it, for a screen, a phone and paper. Pure. */
import { BASELINES, type BaselineName, type BenchConfigName, TRACEABLE } from './configs.js';
import { amount, bytes, percent, seconds } from './format.js';
import type { OverheadPlot } from './plots.js';
import { LANES, type Lane, type Report } from './report-data.js';
import { findRival } from './rivals.js';
import { profile, type RecordRow, type RivalRow, type Row, recordRows, rivalRows, summarise } from './summary.js';

const LANE_TEXT: Readonly<Record<Lane, { readonly title: string; readonly about: string; readonly unit: string }>> = {
  deterministic: {
    title: 'Deterministic lane',
    about:
      'One virtual CPU whose clock counts its instructions. Costs are instructions of the whole guest, programs and kernel, ' +
      'shipping of the record included; they say nothing of time.',
    unit: 'instructions',
  },
  parallel: {
    title: 'Parallel lane',
    about: 'Several virtual CPUs and the clock on the wall; medians with 95 % confidence intervals.',
    unit: 'seconds',
  },
};

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.5rem 0 1.5rem; }
th, td { padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.bad { color: #c00; font-weight: 600; }
svg { max-width: 100%; height: auto; background: #fff; }
code { font-size: 0.85em; }
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

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

function costOf(row: Row): string {
  if (row.lane === 'deterministic') return amount(row.median);
  const { interval } = row;
  const around = interval === undefined ? '' : ` (${seconds(interval.low)} to ${seconds(interval.high)})`;
  return `${seconds(row.median)}${around}`;
}

/** Things down, configurations of one baseline across: its cost, and what each other costs more. */
function overheadTable(rows: readonly Row[]): string {
  const configs = unique(rows.map(({ config }) => config));
  const things = unique(rows.map(({ label }) => label));
  return table(
    ['', ...configs.map(escapeHtml)],
    things.map((thing) => [
      escapeHtml(thing),
      ...configs.map((config) => {
        const row = rows.find((one) => one.label === thing && one.config === config);
        if (row === undefined) return '–';
        return config === row.baseline || row.overhead === undefined ? costOf(row) : percent(row.overhead);
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

function laneSection(report: Report, lane: Lane, rows: readonly Row[], plots: readonly OverheadPlot[]): string {
  const ours = rows.filter((row) => row.lane === lane);
  if (ours.length === 0) return '';
  const { title, about, unit } = LANE_TEXT[lane];
  const sections = BASELINES.flatMap((baseline) => {
    const compared = ours.filter((row) => row.baseline === baseline);
    return unique(compared.map(({ workload }) => workload)).map((workload) => {
      const some = compared.filter((row) => row.workload === workload);
      const plot = plots.find((one) => one.lane === lane && one.workload === workload && one.baseline === baseline);
      return `<section><h3>${escapeHtml(workload)}, against ${baseline}</h3><p>${BASELINE_TEXT[baseline]}</p>
${overheadTable(some)}${plot?.svg ?? ''}
${repeatTable(some)}${lane === 'deterministic' ? profileTable(report, workload, some) : ''}</section>`;
    });
  });
  return `<h2>${title}</h2><p>${about} The baseline's column is in ${unit}, the others say how much more it is.</p>
${sections.join('\n')}`;
}

function rivalSection(rows: readonly RivalRow[]): string {
  if (rows.length === 0) return '';
  return `<h2>What other recorders left</h2><p>Calls are those that the trace holds: strace and perf trace follow the work's
processes, the others record the whole guest. Lost is what the recorder itself says, in its own units.</p>
${table(
  ['workload, lane', 'recorder', 'calls', 'lost', 'trace', 'arguments', 'written bytes'],
  rows.map(({ workload, lane, config, rival }) => [
    escapeHtml(`${workload}, ${lane}`),
    config,
    amount(rival.calls),
    rival.lost === 0 ? '0' : `<span class="bad">${amount(rival.lost)}</span>`,
    bytes(rival.bytes),
    escapeHtml(findRival(config)?.arguments ?? ''),
    escapeHtml(findRival(config)?.written ?? ''),
  ]),
)}`;
}

function rebuiltText({ cell }: RecordRow): string {
  if (cell.rebuild === null) return '–';
  return cell.rebuild.isEqual ? 'exact' : `<span class="bad">${cell.rebuild.differences} differences</span>`;
}

function recordSection(rows: readonly RecordRow[]): string {
  if (rows.length === 0) return '';
  const head = ['workload, lane', 'configuration', 'events', 'bytes', 'B an event', 'without parameters'];
  return `<h2>The record</h2><p>Sizes are of all that was recorded while the guest ran, its boot included; "without
parameters" leaves out arguments, paths, buffers and written content, as the paper counts; "compressed" is zstd's default.
CPU, memory and writes are those of the process that took the record, Node.js itself included; "database" is entries, and
the size of the file.</p>
${table(
  [
    ...head,
    'compressed',
    'lost',
    'log files',
    'bytes of one',
    "lab's CPU",
    'memory',
    'written',
    'database',
    'rebuilt disk',
  ],
  rows.map((row) => {
    const { trace } = row.cell;
    const each = (total: number) => (total / trace.events).toFixed(1);
    return [
      `${escapeHtml(row.workload)}, ${row.lane}`,
      row.config,
      amount(trace.events),
      bytes(trace.bytes),
      each(trace.bytes),
      each(trace.fixedBytes),
      each(trace.compressedFixedBytes),
      trace.lost + trace.missing === 0 ? '0' : `<span class="bad">${trace.lost} + ${trace.missing} undeclared</span>`,
      String(trace.segments),
      bytes(trace.meanSegmentBytes),
      seconds(row.cell.lab.cpuSeconds),
      bytes(row.cell.lab.peakBytes),
      bytes(row.cell.lab.writtenBytes),
      row.cell.database === null ? '–' : `${amount(row.cell.database.entries)}, ${bytes(row.cell.database.bytes)}`,
      rebuiltText(row),
    ];
  }),
)}`;
}

function kindsSection(rows: readonly RecordRow[]): string {
  const chosen = rows.filter((row) => row.config === ('static-relay' satisfies BenchConfigName));
  if (chosen.length === 0) return '';
  return `<h3>By kind: static-relay</h3>${chosen
    .map(
      (row) =>
        `<h4>${escapeHtml(row.workload)}, ${row.lane}</h4>${table(
          ['kind', 'events', 'bytes', 'B an event', 'without parameters'],
          row.cell.trace.kinds.map((kind) => [
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

function failures(report: Report): string {
  const failed = report.cells.filter((cell) => cell.state === 'failed');
  if (failed.length === 0) return '';
  return `<h2 class="bad">Cells that failed</h2>${table(
    ['cell', 'why', 'kept in'],
    failed.map((cell) => [
      escapeHtml(`${cell.lane}, ${cell.workload}, ${cell.config}, repeat ${cell.repeat + 1}`),
      escapeHtml(cell.error),
      `<code>${escapeHtml(cell.runDir)}</code>`,
    ]),
  )}`;
}

function facts(report: Report): string {
  const rows = Object.entries({ ...report.host, ...report.digests });
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
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lemona: what recording costs</title><style>${STYLE}</style></head><body>
<h1>What recording costs</h1>
${failures(report)}
${LANES.map((lane) => laneSection(report, lane, rows, plots)).join('\n')}
${recordSection(records)}
${kindsSection(records)}
${rivalSection(rivalRows(report))}
${facts(report)}
</body></html>
`;
}

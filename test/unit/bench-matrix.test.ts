// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { parseSpans } from '../../lab/bench/cell.js';
import { compareReports } from '../../lab/bench/compare.js';
import { MODULES, parseCounts, parseSymbols } from '../../lab/bench/counts.js';
import { matrixCsv } from '../../lab/bench/csv.js';
import { reportHtml } from '../../lab/bench/html.js';
import { matrixMarkdown } from '../../lab/bench/markdown.js';
import { planCells } from '../../lab/bench/measure.js';
import { type DoneCell, parseReport, type Report } from '../../lab/bench/report-data.js';
import { profile, summarise } from '../../lab/bench/summary.js';
import type { Workload } from '../../lab/bench/workload.js';
import { chooseWorkloads, loadWorkloads } from '../../lab/bench/workloads.js';
import { LabError } from '../../lab/util/errors.js';

const MAP = `0000000000000000 D per_cpu_start
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t one
ffffffff81000200 W two
ffffffff81000300 D data
`;

/** The file of a counter with these rows: what is counted now, then one a span. */
function countsFile(functions: number, begun: number, rows: readonly (readonly number[])[]): Buffer {
  const head = Buffer.alloc(32);
  head.write('LMNACNT1', 'latin1');
  head.writeUInt32LE(functions, 8);
  head.writeUInt32LE(rows.length - 1, 12);
  head.writeBigUInt64LE(BigInt(begun), 16);
  return Buffer.concat([head, Buffer.from(BigUint64Array.from(rows.flat(), (value) => BigInt(value)).buffer)]);
}

function cell(
  config: DoneCell['config'],
  repeat: number,
  user: number,
  functions: Record<string, number>,
  change: Partial<DoneCell> = {},
): DoneCell {
  const kernel = Object.values(functions).reduce((sum, count) => sum + count, 0);
  return {
    state: 'done',
    config,
    workload: 'micro',
    lane: 'deterministic',
    repeat,
    spans: [{ label: 'null', units: 100, seconds: 1, user, kernel, functions }],
    trace: null,
    lab: { cpuSeconds: 1, writtenBytes: 1, peakBytes: 1 },
    rebuild: null,
    database: null,
    rival: null,
    accelerator: 'tcg',
    wallSeconds: 2,
    ...change,
  };
}

function report(cells: Report['cells']): Report {
  return parseReport(
    {
      format: 1,
      created: '2026-01-01T00:00:00Z',
      command: './lemona bench',
      options: {
        lanes: ['deterministic'],
        configs: ['vanilla', 'static-relay'],
        workloads: ['micro'],
        size: 'quick',
        repeats: { deterministic: 1, parallel: 1 },
      },
      host: {},
      digests: {},
      cells,
    },
    'report.json',
  );
}

const WORKLOAD: Workload = { name: 'w', about: '', image: 'tiny', memoryMiB: 128, script: () => 'micro null 1' };

describe('instruction counts', () => {
  it('knows the functions of a System.map: the first name of each address, then the modules', () => {
    expect(parseSymbols(MAP).names).to.deep.equal(['_stext', 'one', 'two', MODULES]);
  });

  it('reads the spans of the counter, programs and functions apart', () => {
    const symbols = parseSymbols(MAP);
    const rows = [
      [9, 9, 9, 9, 9],
      [10, 0, 3, 4, 0],
      [1, 0, 0, 0, 5],
    ];
    expect(parseCounts(countsFile(4, 2, rows), symbols)).to.deep.equal([
      { user: 10, kernel: 7, functions: { one: 3, two: 4 } },
      { user: 1, kernel: 5, functions: { [MODULES]: 5 } },
    ]);
  });

  it('refuses what is no file of the counter, is of another kernel, or has a span without an end', () => {
    const symbols = parseSymbols(MAP);
    expect(() => parseCounts(Buffer.from('LMNA'), symbols)).to.throw(LabError);
    expect(() => parseCounts(countsFile(3, 0, [[0, 0, 0, 0]]), symbols)).to.throw(LabError);
    expect(() => parseCounts(countsFile(4, 1, [[0, 0, 0, 0, 0]]), symbols)).to.throw(/1 spans of the work began, 0/);
  });

  it('finds the lines of spans in what the work printed', () => {
    const output = 'hello\nspan null 100 0.250000000\nspan of things\nspan tar 1 12.000000001\n';
    expect(parseSpans(output)).to.deep.equal([
      { label: 'null', units: 100, seconds: 0.25 },
      { label: 'tar', units: 1, seconds: 12.000000001 },
    ]);
  });
});

describe('the matrix', () => {
  it('interleaves configurations within each repeat', () => {
    const plan = planCells(
      {
        lanes: ['parallel'],
        configs: ['vanilla', 'static-relay'],
        workloads: ['w'],
        size: 'full',
        repeats: { deterministic: 1, parallel: 2 },
      },
      [WORKLOAD],
    );
    expect(plan.map(({ config, repeat }) => `${config} ${repeat}`)).to.deep.equal([
      'vanilla 0',
      'static-relay 0',
      'vanilla 1',
      'static-relay 1',
    ]);
  });

  it('has workloads of different names, each of which measures something', async () => {
    const all = await loadWorkloads();
    expect(new Set(all.map(({ name }) => name)).size).to.equal(all.length);
    for (const { name, script } of all) expect(script('quick'), name).to.match(/^(span|micro) \S+ /m);
    expect(() => chooseWorkloads(all, ['nonsense'])).to.throw(/no workload 'nonsense'/);
  });

  it('says what a configuration costs beyond vanilla, and which functions', () => {
    const one = report([
      cell('vanilla', 0, 1000, { call: 1000 }),
      cell('static-relay', 0, 1000, { call: 1000, hook: 100 }),
      cell('static-relay', 1, 1000, { call: 1000, hook: 102 }),
    ]);
    const [plain, relay] = summarise(one);
    expect(plain?.overhead).to.equal(0);
    expect(relay).to.include({ median: 2101, perUnit: 21.01, kernel: 1101, user: 1000 });
    expect(relay?.overhead).to.be.closeTo(0.0505, 1e-12);
    expect(profile(one, 'micro', 'null', 'static-relay')[0]).to.deep.equal({
      name: 'hook',
      instructions: 100,
      more: 100,
    });
    expect(matrixCsv(one).split('\r\n')).to.have.length(4);
  });

  it('is a table for a README, with what failed in it', () => {
    const rebuild = { isEqual: true, differences: 0, compared: 9 };
    const page = matrixMarkdown(
      report([
        cell('vanilla', 0, 1000, { call: 1000 }),
        cell('static-relay', 0, 1000, { call: 1100 }, { trace: TRACE, rebuild }),
      ]),
    );
    expect(page.split('\n')).to.deep.equal([
      '| configuration | micro null | events | disk rebuilt |',
      '| --- | --- | --- | --- |',
      '| vanilla | 2.00 k |  |  |',
      '| static-relay | +5.00 % | 1 | exact |',
      '',
    ]);
    const failed = { config: 'static-relay', workload: 'micro', lane: 'deterministic', repeat: 0 } as const;
    const other = report([cell('vanilla', 0, 1000, {}), { ...failed, state: 'failed', error: 'e', runDir: 'r' }]);
    expect(matrixMarkdown(other)).to.include('| static-relay | failed |  |  |');
  });

  it('shows a failed cell and a rebuild that is not exact', () => {
    const page = reportHtml(
      report([
        cell('static-relay', 0, 1, {}, { rebuild: { isEqual: false, differences: 3, compared: 9 }, trace: TRACE }),
        {
          state: 'failed',
          config: 'vanilla',
          workload: 'micro',
          lane: 'deterministic',
          repeat: 0,
          error: 'a <panic>',
          runDir: 'runs/x',
        },
      ]),
      [],
    );
    expect(page).to.include('a &lt;panic&gt;').and.to.include('3 differences');
  });

  it('tells a change from the spread of repeats', () => {
    const before = report([cell('vanilla', 0, 100_000, {}), cell('static-relay', 0, 100_000, { hook: 5000 })]);
    const after = report([cell('vanilla', 0, 100_050, {}), cell('static-relay', 0, 100_000, { hook: 4000 })]);
    const { changes } = compareReports(before, after);
    expect(changes.map(({ config, isSignificant }) => [config, isSignificant])).to.deep.equal([
      ['vanilla', false],
      ['static-relay', true],
    ]);
  });
});

const TRACE: NonNullable<DoneCell['trace']> = {
  events: 1,
  bytes: 16,
  fixedBytes: 16,
  compressedBytes: 16,
  compressedFixedBytes: 16,
  kinds: [],
  lost: 0,
  missing: 0,
  segments: 1,
  meanSegmentBytes: 16,
};

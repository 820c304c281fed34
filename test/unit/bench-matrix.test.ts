// SPDX-License-Identifier: MIT
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parseSpans, peakBytesOf, spanResults } from '../../lab/bench/cell.js';
import { compareReports } from '../../lab/bench/compare.js';
import { MODULES, parseCounts, parseSymbols } from '../../lab/bench/counts.js';
import { matrixCsv } from '../../lab/bench/csv.js';
import { reportHtml } from '../../lab/bench/html.js';
import { matrixMarkdown } from '../../lab/bench/markdown.js';
import { planCells } from '../../lab/bench/measure.js';
import { overheadPlots } from '../../lab/bench/plots.js';
import { type BenchOptions, type DoneCell, type Lane, parseReport, type Report } from '../../lab/bench/report-data.js';
import { rankTest } from '../../lab/bench/statistics.js';
import { faultsOf, profile, recordRows, rivalRows, summarise } from '../../lab/bench/summary.js';
import { timeoutMs, type Workload } from '../../lab/bench/workload.js';
import { chooseWorkloads, loadWorkloads } from '../../lab/bench/workloads.js';
import { Invocation } from '../../lab/cli/invocation.js';
import { buildProgram } from '../../lab/cli/parse.js';
import { optionsOf } from '../../lab/cli/verbs/bench.js';
import { describeComparison, isSame } from '../../lab/cli/verbs/bench-compare.js';
import { LabError } from '../../lab/util/errors.js';
import { Output } from '../../lab/util/output.js';
import { callVerb } from '../harness/verb.js';

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
    runDir: null,
    ...change,
  };
}

/** A span of the parallel lane. */
function timed(seconds: number): DoneCell['spans'][number] {
  return { label: 'null', units: 100, seconds, user: null, kernel: null, functions: {} };
}

function report(cells: Report['cells'], lanes: readonly Lane[] = ['deterministic']): Report {
  return parseReport(
    {
      format: 1,
      created: '2026-01-01T00:00:00Z',
      command: './lemona bench',
      options: {
        lanes,
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

describe('the spans of a cell', () => {
  it('have every function that was counted: a profile subtracts those of the baseline', () => {
    const functions = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`f${i}`, i + 1]));
    const spans = [{ label: 'null', units: 100, seconds: 1 }];
    expect(spanResults(spans, [{ user: 5, kernel: 6, functions }])).to.deep.equal([
      { label: 'null', units: 100, seconds: 1, user: 5, kernel: 6, functions },
    ]);
    expect(spanResults(spans, undefined)).to.deep.equal([timed(1)]);
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
      '## Deterministic lane (tcg), against vanilla',
      '',
      'In instructions; what is not vanilla as how much more.',
      '',
      '| configuration | micro null | events | disk rebuilt |',
      '| --- | --- | --- | --- |',
      '| vanilla | 2.00 k |  |  |',
      '| static-relay | +5.00 % | 1 | exact |',
      '',
      'Instructions of programs, and of the kernel:',
      '',
      '| configuration | micro null |',
      '| --- | --- |',
      '| vanilla | 1.00 k + 1.00 k |',
      '| static-relay | 1.00 k + 1.10 k |',
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

  it('never puts times of two accelerators into one row, table or plot', () => {
    const of = (accelerator: string, config: DoneCell['config'], seconds: number) =>
      cell(config, 0, 0, {}, { lane: 'parallel', accelerator, spans: [timed(seconds)] });
    const one = report(
      [of('kvm', 'vanilla', 1), of('tcg,thread=single', 'vanilla', 10), of('kvm', 'static-relay', 2)],
      ['parallel'],
    );
    const rows = summarise(one);
    expect(rows.map(({ accelerator, median, overhead }) => [accelerator, median, overhead])).to.deep.equal([
      ['kvm', 1, 0],
      ['tcg,thread=single', 10, 0],
      ['kvm', 2, 1],
    ]);
    const plots = overheadPlots(rows);
    expect(plots.map(({ place }) => place)).to.deep.equal(['parallel (kvm)']);
    const page = reportHtml(one, plots);
    const heads = ['Parallel lane (kvm)', 'Parallel lane (tcg,thread=single)'];
    for (const head of heads) {
      expect(page).to.include(`<h2>${head}</h2>`);
      expect(matrixMarkdown(one)).to.include(`## ${head}, against vanilla`);
    }
    expect(matrixCsv(one)).to.match(/^parallel,"tcg,thread=single",micro,null,vanilla,seconds,1,10,/m);
  });

  it('shows intervals and units a second of times, and instructions of programs and kernel apart', () => {
    const times = (config: DoneCell['config'], factor: number) =>
      [1, 1.01, 1.02, 1.03, 1.04, 1.05].map((seconds, repeat) =>
        cell(config, repeat, 0, {}, { lane: 'parallel', spans: [timed(factor * seconds)] }),
      );
    const one = report([...times('vanilla', 1), ...times('static-relay', 2)], ['parallel']);
    const plots = overheadPlots(summarise(one));
    for (const text of [reportHtml(one, plots), matrixMarkdown(one)])
      for (const shown of ['(1.00 s to 1.05 s)', '+100.0 % (+95.1 % to +104.9 %)', '97.6', '48.8'])
        expect(text).to.include(shown);
    expect(plots[0]?.svg).to.match(/<g class="interval"[^>]*>\s*<line/);
    expect(matrixCsv(one).split('\r\n')[0]).to.include(',user,kernel,per_unit,per_second,');
    const counted = report([cell('vanilla', 0, 1000, { call: 2000 })]);
    expect(reportHtml(counted, [])).to.include('1.00 k + 2.00 k');
  });

  it('sums losses over repeats, and takes the rebuild of whichever was verified', () => {
    const rebuild = { isEqual: true, differences: 0, compared: 9 };
    const failed = { config: 'static-relay', workload: 'micro', lane: 'deterministic', repeat: 0 } as const;
    const repeat = (number: number, lost: number, change: Partial<DoneCell> = {}) =>
      cell('static-relay', number, 1, {}, { trace: { ...TRACE, lost, missing: 1 }, ...change });
    const one = report([
      { ...failed, state: 'failed', error: 'e', runDir: null },
      repeat(1, 2),
      repeat(2, 3, { rebuild }),
    ]);
    expect(recordRows(one)).to.have.length(1);
    expect(recordRows(one)[0]).to.deep.include({ lost: 5, missing: 2, rebuild });
    expect(matrixMarkdown(one)).to.include('| 1, 7 lost | exact |');
    expect(matrixMarkdown(report([repeat(1, 0)]))).to.include('not verified');
    const differs = { isEqual: false, differences: 3, compared: 9 };
    expect(
      recordRows(report([repeat(0, 0, { rebuild }), repeat(1, 0, { rebuild: differs })]))[0]?.rebuild,
    ).to.deep.equal(differs);
    const lossy = (number: number, lost: number) =>
      cell('auditd', number, 1, {}, { rival: { bytes: 7, calls: 8, lost } });
    expect(rivalRows(report([lossy(1, 2), lossy(2, 3)])).map(({ rival }) => rival)).to.deep.equal([
      { bytes: 7, calls: 8, lost: 5 },
    ]);
  });

  it('says of each cell that is not good why, and where its run is', () => {
    const found = faultsOf(
      report([
        cell('vanilla', 0, 1, {}),
        cell('static-relay', 1, 1, {}, { trace: { ...TRACE, lost: 2 }, runDir: 'runs/kept' }),
      ]),
    );
    expect(found).to.deep.equal([
      {
        cell: 'deterministic, micro, static-relay, repeat 2',
        why: '2 records lost, 0 more missing',
        runDir: 'runs/kept',
      },
    ]);
    const page = reportHtml(
      report([cell('static-relay', 1, 1, {}, { trace: { ...TRACE, lost: 2 }, runDir: 'runs/kept' })]),
      [],
    );
    expect(page).to.include('<code>runs/kept</code>');
  });

  it('has plots that are black on white on a dark screen too, and pages as wide as its tables', () => {
    const page = reportHtml(report([cell('vanilla', 0, 1, {})]), []);
    expect(page).to.match(/svg \{[^}]*color: #000;[^}]*background: #fff;/);
    expect(page).to.match(/@page \{ size: landscape/);
    const many = report(['vanilla', 'static-relay'].map((config) => cell(config as DoneCell['config'], 0, 1, {})));
    expect(reportHtml(many, [])).to.include('<tr><th></th><th>null</th></tr>\n<tr><td>vanilla</td>');
  });

  it('gives the full kernel build the hours that it takes, and as many jobs as the guest has CPUs', async () => {
    const [build] = chooseWorkloads(await loadWorkloads(), ['kernel-build']);
    expect(build?.script('full')).to.include('make -s -j$(nproc) ');
    // Instructions of tinyconfig, at a hundred million a second, and four times as many with auditd.
    expect(timeoutMs(build as Workload, 'full')).to.be.at.least(4 * 2 * 3_600_000);
    expect(timeoutMs(build as Workload, 'quick')).to.equal(1_800_000);
    expect(timeoutMs(WORKLOAD, 'full')).to.equal(1_800_000);
  });

  it('takes the most memory of a process from what the kernel says of it alone', () => {
    expect(peakBytesOf('Name:\tnode\nVmHWM:\t   40456 kB\nVmRSS:\t 1 kB\n')).to.equal(40456 * 1024);
    expect(() => peakBytesOf('')).to.throw(LabError);
  });
});

describe('what changed from one report to another', () => {
  const counts = (config: DoneCell['config'], values: readonly number[]) =>
    values.map((value, repeat) => cell(config, repeat, value, {}));
  const times = (values: readonly number[]) =>
    values.map((seconds, repeat) => cell('vanilla', repeat, 0, {}, { lane: 'parallel', spans: [timed(seconds)] }));
  const verdicts = (a: Report['cells'], b: Report['cells']) =>
    compareReports(report(a), report(b)).changes.map(({ verdict }) => verdict);

  it('tells a change of counts from the spread of either', () => {
    const before = [100_000, 100_100, 100_200];
    const told = (values: readonly number[]) => verdicts(counts('vanilla', before), counts('vanilla', values));
    // Between the others; beyond all of them but no further than they differ; as far, but one lies among them.
    expect(told([100_150, 100_100, 100_050])).to.deep.equal(['same']);
    expect(told([100_210, 100_220, 100_230])).to.deep.equal(['same']);
    expect(told([100_190, 100_900, 101_000])).to.deep.equal(['same']);
    expect(told([100_500, 100_510, 100_520])).to.deep.equal(['changed']);
    expect(told([99_500, 99_510, 99_520])).to.deep.equal(['changed']);
    // The middle ones are further apart than either's own, and yet some lie among the others.
    const [low, high] = [[100_000, 100_000, 100_300] as const, [100_150, 100_450, 100_450] as const];
    expect(verdicts(counts('vanilla', low), counts('vanilla', high))).to.deep.equal(['same']);
    // Itself differs by as much.
    expect(told([100_300, 100_600, 101_400])).to.deep.equal(['same']);
  });

  it('does not judge by one sample, or by so few times that chance can never be excluded', () => {
    expect(verdicts(counts('vanilla', [1000]), counts('vanilla', [2000, 2001]))).to.deep.equal(['unknown']);
    expect(verdicts(times([1, 2, 3]), times([11, 12, 13]))).to.deep.equal(['unknown']);
    expect(verdicts(times([1, 2, 3, 4, 5, 6]), times([11, 12, 13, 14, 15, 16]))).to.deep.equal(['changed']);
    expect(verdicts(times([1, 2, 3, 4, 5, 6]), times([1, 2, 3, 4, 5, 7]))).to.deep.equal(['same']);
    const one = compareReports(report(counts('vanilla', [1000])), report(counts('vanilla', [2000])));
    expect(describeComparison(one)).to.deep.equal([
      'too few samples to tell: deterministic micro null, vanilla: 1.00 k to 2.00 k, +100.0 % (one sample)',
      '1 compared, 0 changed significantly, 1 have too few samples',
    ]);
    // Nothing was told: that is no "the same".
    expect(isSame(one)).to.equal(false);
    expect(
      isSame(compareReports(report(counts('vanilla', [1000, 1001])), report(counts('vanilla', [1000, 1001])))),
    ).to.equal(true);
  });

  it('refuses different work, and says what else is not the same', () => {
    const [a, b] = [report(counts('vanilla', [1000, 1000])), report(counts('vanilla', [1000, 1000]))];
    const full = { ...b, options: { ...b.options, size: 'full' as const } };
    expect(() => compareReports(a, full)).to.throw(LabError, 'size quick, the other of full');
    const here = { ...a, host: { cores: '2', node: 'v1' }, digests: { 'kernel y': 'k' } };
    const there = { ...b, host: { cores: '4', node: 'v1' }, digests: { 'kernel y': 'l', intake: 'i' } };
    expect(compareReports(here, there).differences).to.deep.equal(['host, cores: 2 and 4', 'another kernel y']);
    const kvm = report(
      times([1]).map((one) => ({ ...one, accelerator: 'kvm' })),
      ['parallel'],
    );
    expect(compareReports(report(times([1]), ['parallel']), kvm)).to.deep.include({
      changes: [],
      differences: ['lanes: parallel (tcg) and parallel (kvm)'],
    });
  });

  it('ends with 1 where a cell of either lost records, failed or was not rebuilt, and names it', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    try {
      const file = async (name: string, cells: Report['cells']) => {
        const to = path.join(folder, name);
        await writeFile(to, JSON.stringify(report(cells)));
        return to;
      };
      const good = await file('good', counts('vanilla', [1000, 1000]));
      const lossy = await file(
        'lossy',
        counts('vanilla', [1000, 1000]).map((one) => ({ ...one, trace: { ...TRACE, missing: 1 } })),
      );
      expect(await callVerb('bench', 'compare', good, good)).to.deep.equal({
        status: 0,
        stdout: '1 compared, 0 changed significantly\n',
      });
      const said = await callVerb('bench', 'compare', good, lossy);
      expect(said.status).to.equal(1);
      expect(said.stdout).to.include(
        'not good after: deterministic, micro, vanilla, repeat 2: 0 records lost, 1 more missing\n',
      );
      expect((await callVerb('bench', 'compare', lossy, good)).status).to.equal(1);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('what bench is asked for', () => {
  const optionsFor = async (...words: string[]): Promise<BenchOptions> => {
    let options: BenchOptions | undefined;
    const program = buildProgram('0', async (verb, args, flags) => {
      const command = { argv: words, version: '0' };
      const out = new Output(process.stderr);
      options = await optionsOf(new Invocation(verb, args, flags, out, command, new AbortController().signal));
    });
    await program.parseAsync(['bench', ...words], { from: 'user' });
    return options as BenchOptions;
  };

  it('is measured once, however often it is named', async () => {
    const options = await optionsFor(
      '--configs',
      'vanilla,vanilla',
      '--configs',
      'vanilla',
      '--lane',
      'parallel,parallel',
    );
    expect([options.configs, options.lanes]).to.deep.equal([['vanilla'], ['parallel']]);
  });

  it('is enough times to be compared', async () => {
    for (const words of [['--quick'], []]) {
      const { parallel } = (await optionsFor(...words)).repeats;
      const times = Array.from({ length: parallel }, (_, i) => i);
      expect(
        rankTest(
          times,
          times.map((time) => time + parallel),
        ),
      ).to.be.lessThan(0.01);
    }
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

// SPDX-License-Identifier: MIT
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { parseConfig } from '../../guest-kernel/kconfig.js';
import { RIVALS as IMAGE } from '../../images/recipes.js';
import { commandOf, programFile } from '../../lab/bench/cell.js';
import { BASELINES, BENCH_CONFIG_NAMES, baselineOf, benchConfig, TRACEABLE } from '../../lab/bench/configs.js';
import { reportHtml } from '../../lab/bench/html.js';
import { matrixMarkdown } from '../../lab/bench/markdown.js';
import { cellDigest } from '../../lab/bench/matrix.js';
import { overheadPlots } from '../../lab/bench/plots.js';
import { cellSchema, type DoneCell, parseReport } from '../../lab/bench/report-data.js';
import { findRival, RIVAL_NAMES, RIVALS, type RivalName, rivalFigures, rivalScript } from '../../lab/bench/rivals.js';
import { summarise } from '../../lab/bench/summary.js';
import type { Workload } from '../../lab/bench/workload.js';
import { CONFIG_NAMES } from '../../lab/run/configs.js';
import { LabError } from '../../lab/util/errors.js';

const WORKLOAD: Workload = { name: 'w', about: '', image: 'tiny', memoryMiB: 128, script: () => "echo 'a b'" };

function cell(config: DoneCell['config'], kernel: number, rival: DoneCell['rival'] = null): DoneCell {
  return {
    state: 'done',
    config,
    workload: 'micro',
    lane: 'deterministic',
    repeat: 0,
    spans: [{ label: 'null', units: 100, seconds: 1, user: 1000, kernel, functions: {} }],
    trace: null,
    lab: { cpuSeconds: 1, writtenBytes: 1, peakBytes: 1 },
    rebuild: null,
    database: null,
    rival,
    accelerator: 'tcg',
    wallSeconds: 2,
    runDir: null,
  };
}

function report(configs: DoneCell['config'][], cells: DoneCell[]) {
  const options = { lanes: ['deterministic'], configs, workloads: ['micro'], size: 'quick' };
  return parseReport(
    {
      format: 1,
      created: '2026-01-01T00:00:00Z',
      command: './lemona bench',
      options: { ...options, repeats: { deterministic: 1, parallel: 1 } },
      host: {},
      digests: {},
      cells,
    },
    'report.json',
  );
}

describe('rivals: the table', () => {
  it('names only packages that their image has, and changes nothing else of it', () => {
    for (const name of RIVAL_NAMES)
      for (const one of RIVALS[name].packages) expect(IMAGE.packages, `${name}: ${one}`).to.include(one);
  });

  it('boots each rival, and nothing else, in the guest of their own baseline', () => {
    expect(new Set(BENCH_CONFIG_NAMES).size).to.equal(BENCH_CONFIG_NAMES.length);
    for (const name of CONFIG_NAMES) {
      expect(baselineOf(name)).to.equal('vanilla');
      expect(benchConfig(name)).to.deep.equal({
        name,
        run: benchConfig(name).run,
        flavour: benchConfig(name).run.flavour,
      });
    }
    for (const name of [TRACEABLE, ...RIVAL_NAMES] as const) {
      expect(baselineOf(name)).to.equal(TRACEABLE);
      const { rival, ...guest } = benchConfig(name);
      expect(guest).to.deep.equal({ ...benchConfig(TRACEABLE), name });
      expect(rival).to.equal(findRival(name));
    }
    expect(benchConfig(TRACEABLE)).to.include({ flavour: 'traceable', image: 'rivals' });
    expect(benchConfig(TRACEABLE).run.records).to.equal(false);
    for (const name of ['__proto__', 'toString', 'ftrace'])
      expect(() => benchConfig(name), name).to.throw(LabError, `no configuration '${name}'`);
  });

  it('gives the kernel what rivals need, without the driver', () => {
    const read = (name: string) =>
      parseConfig(
        readFileSync(path.join(import.meta.dirname, `../../guest-kernel/config/${name}.config`), 'utf8'),
        name,
      );
    const traceable = read('traceable');
    for (const symbol of ['AUDIT', 'AUDITSYSCALL', 'FTRACE_SYSCALLS', 'PERF_EVENTS', 'BPF_SYSCALL', 'BPF_EVENTS'])
      expect(traceable.get(symbol), symbol).to.equal('y');
    expect([...traceable.keys()].filter((symbol) => symbol.startsWith('LEMONA'))).to.deep.equal([]);
  });
});

describe('rivals: what the guest runs', () => {
  const work = 'set -e\nprintf "%s\\n" \'a b\' $PWD';

  it("leaves the lab's own configurations as they were", () => {
    const command = commandOf(benchConfig('static-relay'), WORKLOAD, 'quick');
    const script = "set -e\nexport PATH=/root/bin:$PATH LC_ALL=C\nmkdir /root/work && cd /root/work\necho 'a b'";
    expect(command).to.deep.equal(['sh', '-c', script]);
    const { rival, ...before } = cell('vanilla', 1);
    expect(rival).to.equal(null);
    expect(cellSchema.parse(before)).to.deep.equal(cell('vanilla', 1));
  });

  it('tells cells of different rivals, kernels and programs apart', () => {
    const digests: Record<string, string> = {
      'kernel traceable': 'k',
      'image rivals': 'i',
      'program span-settling': 's',
      ...{ 'program micro-settling': 'm', counter: 'c', 'workload w': 'w', 'initramfs without module': 'r' },
    };
    const digestOf = (config: DoneCell['config'], of = digests) =>
      cellDigest(
        { digests: of, host: {}, accelerator: 'tcg' },
        { config, workload: WORKLOAD, lane: 'deterministic', repeat: 0 },
      );
    const all = [TRACEABLE, ...RIVAL_NAMES] as const;
    expect(new Set(all.map((name) => digestOf(name))).size).to.equal(all.length);
    for (const name of Object.keys(digests))
      expect(digestOf('auditd', { ...digests, [name]: 'other' }), name).not.to.equal(digestOf('auditd'));
    for (const name of BASELINES)
      expect(programFile('span', name)).to.equal(name === TRACEABLE ? 'span-settling' : 'span');
  });

  it('is a script of sh that runs the work, whatever is in it, and fails as the work does', () => {
    // As the guest has it, but in a folder that one may write, and without what only root may.
    const run = (text: string) => {
      const folder = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
      const script = rivalScript(undefined, text)
        .replaceAll('/root/', `${folder}/`)
        .replaceAll(/^mount .*$/gm, ':');
      return execFileSync('sh', ['-c', `${script}\nrm -r ${folder}`], { encoding: 'utf8', cwd: '/' });
    };
    expect(run(work)).to.equal('a b\n/\n');
    expect(() => run('echo before; exit 3')).to.throw();
    for (const name of RIVAL_NAMES) execFileSync('sh', ['-n', '-c', rivalScript(RIVALS[name], work)]);
  });

  it('runs the work by the recorder', () => {
    const line = (name: RivalName) =>
      rivalScript(RIVALS[name], work)
        .split('\n')
        .find((one) => one.includes("/root/rival/run'"));
    expect(line('strace')).to.equal("'strace' '-f' '-o' '/root/record/trace' 'sh' '/root/rival/run' || :");
    expect(line('auditd')).to.equal("'sh' '/root/rival/run' || :");
    expect(rivalScript(RIVALS.auditd, work)).to.match(
      /-S all\nauditctl .* -S all\n'sh'.*\n[\s\S]*auditctl -D\n[\s\S]*kill /,
    );
    expect(rivalScript(RIVALS.bpftrace, work)).to.match(/'-c' '\/bin\/sh \/root\/rival\/run' \|\| :\n/);
  });
});

describe('rivals: what they left', () => {
  const read = (name: RivalName, said: string) =>
    rivalFigures(RIVALS[name], `span null 1 0.1\ncalls 7\n--- the record\n${said}`);

  it('is what was printed after the work', () => {
    expect(read('strace', 'bytes 123\ncalls 45\n')).to.deep.equal({ bytes: 123, calls: 45, lost: 0 });
    expect(() => read('strace', 'bytes 123\n')).to.throw(LabError, 'did not say');
    expect(() => rivalFigures(RIVALS.strace, 'bytes 1\ncalls 2\n')).to.throw(LabError, 'did not say');
  });

  it('has the losses that each one says', () => {
    const status = 'enabled 1\nfailure 1\npid 99\nrate_limit 0\nbacklog_limit 8192\nlost 17\nbacklog 0\n';
    const stat = 'overrun: 3\ncommit overrun: 4\ndropped events: 5\noverrun: 6\ncommit overrun: 0\ndropped events: 0\n';
    const said: Record<RivalName, readonly [string, number][]> = {
      strace: [['', 0]],
      'strace-whole': [['', 0]],
      auditd: [[status, 17]],
      'trace-cmd': [[stat, 18]],
      'perf-trace': [
        ['', 0],
        ['LOST 12 events!\nLOST 30 events!\n', 42],
      ],
      bpftrace: [
        ['', 0],
        ['Lost 12 events\nLost 1 events\n', 13],
      ],
    };
    for (const name of RIVAL_NAMES)
      for (const [text, lost] of said[name])
        expect(read(name, `${text}bytes 1\ncalls 1\n`), name).to.deep.equal({ bytes: 1, calls: 1, lost });
  });

  it('is not taken for complete where one that always counts its losses did not', () => {
    for (const name of ['auditd', 'trace-cmd'] as const)
      expect(() => read(name, 'bytes 1\ncalls 1\n'), name).to.throw(LabError, 'what it lost');
  });
});

describe('rivals: the report', () => {
  const left = { bytes: 1_500_000, calls: 2000, lost: 3 };
  const one = report(
    ['vanilla', 'static-relay', TRACEABLE, 'auditd'],
    [cell('vanilla', 1000), cell('static-relay', 1200), cell(TRACEABLE, 1500), cell('auditd', 4000, left)],
  );

  it('measures each against its own baseline', () => {
    const overheads = summarise(one).map(({ config, overhead }) => [config, overhead?.toFixed(6)]);
    expect(overheads).to.deep.equal([
      ['vanilla', '0.000000'],
      ['static-relay', '0.100000'],
      [TRACEABLE, '0.000000'],
      ['auditd', '1.000000'],
    ]);
    const alone = report(['vanilla', 'auditd'], [cell('vanilla', 1000), cell('auditd', 4000, left)]);
    expect(summarise(alone)[1]?.overhead).to.equal(undefined);
  });

  it('never shows two baselines in one table or plot', () => {
    const lines = matrixMarkdown(one).split('\n');
    expect(lines.filter((line) => line.startsWith('## '))).to.deep.equal([
      '## Deterministic lane (tcg), against vanilla',
      `## Deterministic lane (tcg), against ${TRACEABLE}`,
    ]);
    const tables = lines.join('\n').split('## ').slice(1);
    expect(tables.map((text) => [text.includes('| static-relay |'), text.includes('| auditd |')])).to.deep.equal([
      [true, false],
      [false, true],
    ]);
    expect(lines).to.include.members([
      '| configuration | micro null | calls | lost | trace | arguments | written bytes |',
      `| ${TRACEABLE} | 2.50 k |  |  |  |  |  |`,
      `| auditd | +100.0 % | 2.00 k | 3 | 1.50 MB | ${RIVALS.auditd.arguments} | ${RIVALS.auditd.written} |`,
    ]);
    const plots = overheadPlots(summarise(one));
    expect(plots.map(({ baseline }) => baseline)).to.deep.equal(['vanilla', TRACEABLE]);
    for (const { baseline, svg } of plots) expect(svg.includes('auditd')).to.equal(baseline === TRACEABLE);
    const inPage = reportHtml(one, plots).match(/<table>[\s\S]*?<\/table>/g) ?? [];
    expect(inPage.filter((table) => table.includes('auditd') && table.includes('static-relay'))).to.deep.equal([]);
    expect(inPage.filter((table) => table.includes('<td><span class="bad">3</span></td>'))).to.have.length(1);
  });
});

// SPDX-License-Identifier: MIT
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { runCellProcess } from '../../lab/bench/cell-process.js';
import { cellDigest, labCommit, type Means } from '../../lab/bench/matrix.js';
import {
  type CellPlan,
  cellsAtOnce,
  type MeasureSpec,
  measureCells,
  nameOf,
  planCells,
} from '../../lab/bench/measure.js';
import { inOutput, repeatFolder } from '../../lab/bench/output.js';
import type { DoneCell, Lane, Report } from '../../lab/bench/report-data.js';
import type { Workload } from '../../lab/bench/workload.js';
import { runningChildren } from '../../lab/proc/registry.js';
import { LabError } from '../../lab/util/errors.js';
import { createLog, silentLog } from '../../lab/util/log.js';
import { createProgress, silentProgress } from '../../lab/util/progress.js';

const WORKLOAD: Workload = { name: 'w', about: '', image: 'tiny', memoryMiB: 128, script: () => 'micro null 1' };
const CONFIGS = ['vanilla', 'module-relay', 'static-relay'] as const;
const HOST = { cores: 2, memoryBytes: 16 * 2 ** 30 };

function plan(lanes: readonly Lane[], repeats: number, workload = WORKLOAD): CellPlan[] {
  return planCells(
    {
      lanes: [...lanes],
      configs: [...CONFIGS],
      workloads: ['w'],
      size: 'full',
      repeats: { deterministic: repeats, parallel: repeats },
    },
    [workload],
  );
}

function done({ config, lane, repeat }: CellPlan): DoneCell {
  return {
    state: 'done',
    config,
    workload: 'w',
    lane,
    repeat,
    spans: [],
    trace: null,
    lab: { cpuSeconds: 1, writtenBytes: 1, peakBytes: 1 },
    rebuild: null,
    database: null,
    rival: null,
    accelerator: 'tcg',
    wallSeconds: 1,
    runDir: null,
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('measuring cells', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const ctx = { log: silentLog, progress: silentProgress, signal: new AbortController().signal };
  const spec = (change: Partial<MeasureSpec>): MeasureSpec => ({
    folder,
    digestOf: () => 'digest',
    host: HOST,
    runCell: (cell) => Promise.resolve(done(cell)),
    runDirOf: (cell) => path.join(folder, 'runs', nameOf(cell)),
    ...change,
  });

  it('plans a load from the host for the parallel lane only', () => {
    const lanesOf = (workload: Workload) => plan(['deterministic', 'parallel'], 1, workload).map(({ lane }) => lane);
    expect(lanesOf(WORKLOAD)).to.have.length(6);
    expect(lanesOf({ ...WORKLOAD, loadedPort: 80 })).to.deep.equal(['parallel', 'parallel', 'parallel']);
  });

  it('runs as many cells at once as there are cores where instructions are counted, and one where time is taken', async () => {
    const now: Record<Lane, number> = { deterministic: 0, parallel: 0 };
    const most: Record<Lane, number> = { deterministic: 0, parallel: 0 };
    const cells = plan(['deterministic', 'parallel'], 2);
    const measured = await measureCells(
      cells,
      spec({
        runCell: async (cell) => {
          now[cell.lane]++;
          most[cell.lane] = Math.max(most[cell.lane], now[cell.lane]);
          expect(Math.min(now.deterministic, now.parallel)).to.equal(0);
          for (let i = 0; i < 3; i++) await turn();
          now[cell.lane]--;
          return done(cell);
        },
      }),
      ctx,
    );
    expect(most).to.deep.equal({ deterministic: 2, parallel: 1 });
    expect(measured).to.deep.equal(cells.map(done));
    expect(cellsAtOnce('deterministic', { cores: 64, memoryBytes: 4 * 2 ** 30 })).to.equal(2);
    expect(cellsAtOnce('deterministic', { cores: 1, memoryBytes: 2 ** 29 })).to.equal(1);
  });

  it('reports cells that fail beside others as failed, with what they left, goes on with the rest, and tries only such again', async () => {
    const cells = plan(['deterministic'], 1);
    const { runDirOf } = spec({});
    const said: string[] = [];
    const log = createLog('info', (line) => said.push(line));
    const first = await measureCells(
      cells,
      spec({
        runCell: async (cell) => {
          await turn();
          if (cell.config === 'vanilla') throw new Error('it did not begin');
          if (cell.config === 'module-relay') {
            await mkdir(runDirOf(cell), { recursive: true });
            throw new Error('it broke');
          }
          return done(cell);
        },
      }),
      { ...ctx, log },
    );
    expect(first.map(({ config, state }) => `${config} ${state}`)).to.deep.equal([
      'vanilla failed',
      'module-relay failed',
      'static-relay done',
    ]);
    const kept = path.join(folder, 'runs/deterministic-w-module-relay-0');
    expect(first[0]).to.include({ error: 'it did not begin', runDir: null });
    expect(first[1]).to.include({ error: 'it broke', runDir: kept });
    expect(said.filter((line) => line.includes('its run is kept'))).to.have.length(1);
    const again: string[] = [];
    const second = await measureCells(
      cells,
      spec({
        runCell: async (cell) => {
          again.push(cell.config);
          // What the one that failed left is no evidence of this one.
          expect(existsSync(runDirOf(cell))).to.equal(false);
          return done(cell);
        },
      }),
      ctx,
    );
    expect(again.sort()).to.deep.equal(['module-relay', 'vanilla']);
    expect(second).to.deep.equal(cells.map(done));
  });

  it('keeps what was measured when it is interrupted, goes on there, and measures other things again', async () => {
    const cells = plan(['deterministic'], 2);
    const controller = new AbortController();
    let begun = 0;
    let ended = 0;
    const runCell = async (cell: CellPlan) => {
      begun++;
      await turn();
      if (begun >= 4) controller.abort(new Error('interrupted'));
      controller.signal.throwIfAborted();
      ended++;
      return done(cell);
    };
    let interrupted: unknown;
    await measureCells(cells, spec({ runCell }), { ...ctx, signal: controller.signal }).catch((error: unknown) => {
      interrupted = error;
    });
    expect(interrupted).to.have.property('message', 'interrupted');
    // The other worker may be about to begin one.
    expect(begun).to.be.within(4, 5);
    expect(ended).to.be.within(2, 3);
    const measured = async (change: Partial<MeasureSpec>) => {
      let count = 0;
      const counted = async (cell: CellPlan) => {
        count++;
        return done(cell);
      };
      expect(await measureCells(cells, spec({ ...change, runCell: counted }), ctx)).to.deep.equal(cells.map(done));
      return count;
    };
    expect(await measured({})).to.equal(6 - ended);
    expect(await measured({})).to.equal(0);
    expect(await measured({ digestOf: () => 'another' })).to.equal(6);
  });

  it('says how long the rest will take', async () => {
    const said: string[] = [];
    const progress = createProgress({ write: (text) => said.push(text), redraw: false });
    const log = createLog('info', (line) => said.push(line));
    const oneCore = spec({ host: { ...HOST, cores: 1 } });
    await measureCells(plan(['deterministic'], 1), oneCore, { ...ctx, log, progress });
    expect(said.filter((line) => line.startsWith('✓')).map((line) => line.replace(/\d+ ms/g, 'T'))).to.deep.equal([
      '✓ deterministic-w-vanilla-0: 2 of 3 cells left, about T (T)\n',
      '✓ deterministic-w-module-relay-0: 1 of 3 cells left, about T (T)\n',
      '✓ deterministic-w-static-relay-0 (T)\n',
    ]);
  });

  it('takes a cell over only if all that decides its result is the same', () => {
    const names = [
      ...['counter', 'program span', 'program micro', 'workload w', 'kernel n', 'kernel m', 'kernel y', 'image tiny'],
      ...['initramfs with module', 'initramfs without module', 'initramfs without module and key', 'intake'],
      ...['replay kernel', 'replay initramfs'],
    ];
    const host = { lab: 'abc', processor: 'a', qemu: 'QEMU 7.2' };
    const means: Means = { digests: Object.fromEntries(names.map((name) => [name, 'x'])), host, accelerator: 'tcg' };
    /** Which changes have such a cell measured again. */
    const decide = (config: CellPlan['config'], lane: Lane, repeat: number) => {
      const cell: CellPlan = { config, lane, repeat, workload: WORKLOAD };
      const changes: Record<string, Means> = {
        ...Object.fromEntries(names.map((name) => [name, { ...means, digests: { ...means.digests, [name]: 'y' } }])),
        ...Object.fromEntries(
          Object.keys(host).map((name) => [name, { ...means, host: { ...host, [name]: 'other' } }]),
        ),
        kvm: { ...means, accelerator: 'kvm' },
      };
      const before = cellDigest(means, cell);
      return Object.keys(changes).filter((name) => cellDigest(changes[name] ?? means, cell) !== before);
    };
    const all = ['program span', 'program micro', 'workload w'];
    expect(decide('vanilla', 'deterministic', 0)).to.have.members([
      ...[...all, 'counter', 'kernel n', 'image tiny', 'initramfs without module', 'qemu'],
    ]);
    // Only the first repeat's disk is rebuilt.
    const static_ = [...all, 'kernel y', 'image tiny'];
    expect(decide('static-relay', 'parallel', 1)).to.have.members([
      ...[...static_, 'initramfs without module', 'processor', 'qemu', 'kvm'],
    ]);
    expect(decide('static-socket-plain', 'deterministic', 0)).to.have.members([
      ...[
        ...static_,
        'counter',
        'initramfs without module and key',
        'intake',
        'replay kernel',
        'replay initramfs',
        'qemu',
      ],
    ]);
    expect(decide('module-relay', 'deterministic', 1)).to.include('initramfs with module');
    const digestOf = (config: CellPlan['config'], memoryMiB: number) =>
      cellDigest(means, { config, lane: 'deterministic', repeat: 1, workload: { ...WORKLOAD, memoryMiB } });
    expect(digestOf('static-socket-plain', 128)).not.to.equal(digestOf('static-socket-encrypted', 128));
    expect(digestOf('vanilla', 128)).not.to.equal(digestOf('vanilla', 256));
    expect(() =>
      cellDigest({ ...means, digests: {} }, { config: 'vanilla', lane: 'parallel', repeat: 0, workload: WORKLOAD }),
    ).to.throw(LabError, "nothing has the digest of 'program span'");
  });
});

describe('the commit in a report', () => {
  it('is that of the checkout, and says whether files differ from it; where there is none there is nothing', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    const { signal } = new AbortController();
    try {
      expect(await labCommit(folder, signal)).to.deep.equal({});
      const git = (...words: string[]) =>
        execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.org', ...words], { cwd: folder });
      git('init', '-q');
      await writeFile(path.join(folder, 'file'), 'a');
      git('add', 'file');
      git('commit', '-q', '-m', 'first');
      const commit = git('rev-parse', '--short', 'HEAD').toString().trim();
      expect(await labCommit(folder, signal)).to.deep.equal({ lab: commit });
      await writeFile(path.join(folder, 'file'), 'other');
      expect(await labCommit(folder, signal)).to.deep.equal({ lab: `${commit}-dirty` });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('the folder of a bench', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const report = (command: string): Report => ({
    ...{ format: 1, created: '2026-01-01T00:00:00Z', command, host: {}, seed: 1, digests: {}, cells: [] },
    options: { lanes: [], configs: [], workloads: [], size: 'quick', repeats: { deterministic: 1, parallel: 1 } },
  });
  const refusal = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => (error instanceof LabError ? error.message : error),
    );

  it('is that of one bench at a time', async () => {
    const said = await inOutput(folder, undefined, () => refusal(inOutput(folder, undefined, () => Promise.resolve())));
    expect(said).to.equal(`process ${process.pid} is measuring into ${folder} already`);
    expect(await inOutput(folder, undefined, () => Promise.resolve('after it'))).to.equal('after it');
  });

  it('has no cells of another bench when a report is done again, but goes on with its own', async () => {
    const one = { file: 'one.json', report: report('one') };
    const measure = async () => {
      await mkdir(path.join(folder, 'cells'), { recursive: true });
      await writeFile(path.join(folder, 'cells/a.json'), '{}');
    };
    await inOutput(folder, undefined, measure);
    expect(await refusal(inOutput(folder, one, measure))).to.equal(
      `${folder} has 1 cells, which no repeat of one.json measured`,
    );
    await rm(path.join(folder, 'cells'), { recursive: true });
    await inOutput(folder, one, measure);
    await inOutput(folder, one, measure);
    const other = { file: 'other.json', report: report('other') };
    expect(await refusal(inOutput(folder, other, measure))).to.include('no repeat of other.json');
  });

  it('is a new one when a report is done again', async () => {
    expect(await repeatFolder(path.join(folder, 'none'))).to.equal(path.join(folder, 'none/bench-repeat-1'));
    await mkdir(path.join(folder, 'bench-repeat-1'));
    expect(await repeatFolder(folder)).to.equal(path.join(folder, 'bench-repeat-2'));
  });
});

describe('the process of a cell', () => {
  for (const { name, workload } of [
    { name: 'says why it failed, and ends', workload: 'nonsense' },
    { name: 'says it to its end, however long it is', workload: 'nonsense'.repeat(500_000) },
  ])
    it(name, async () => {
      const ctx = {
        log: silentLog,
        progress: silentProgress,
        signal: new AbortController().signal,
        cacheDir: '/nonexistent',
        dataDir: '/nonexistent',
        runsDir: '/nonexistent',
      };
      const spec = {
        config: 'vanilla',
        workload,
        lane: 'deterministic',
        repeat: 0,
        size: 'quick',
        accelerator: 'tcg',
        verify: false,
        runDir: '/nonexistent/run',
      } as const;
      const step = silentProgress.step('');
      let said: unknown;
      await runCellProcess({ spec, programs: '/nonexistent', folders: ctx }, step, ctx).catch((error: unknown) => {
        said = error;
      });
      expect(said).to.be.instanceOf(LabError);
      expect((said as LabError).message.includes(`there is no workload '${workload}'`)).to.equal(true);
      expect(runningChildren()).to.deep.equal([]);
    });
});

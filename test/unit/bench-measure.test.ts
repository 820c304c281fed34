// SPDX-License-Identifier: MIT
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { runCellProcess } from '../../lab/bench/cell-process.js';
import { cellDigest } from '../../lab/bench/matrix.js';
import {
  type CellPlan,
  cellsAtOnce,
  type MeasureSpec,
  measureCells,
  nameOf,
  planCells,
} from '../../lab/bench/measure.js';
import type { DoneCell, Lane } from '../../lab/bench/report-data.js';
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
    runDirOf: (cell) => `runs/${nameOf(cell)}`,
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

  it('reports a cell that fails beside others as failed, goes on with the rest, and tries only that one again', async () => {
    const cells = plan(['deterministic'], 1);
    const first = await measureCells(
      cells,
      spec({
        runCell: async (cell) => {
          await turn();
          if (cell.config === 'module-relay') throw new Error('it broke');
          return done(cell);
        },
      }),
      ctx,
    );
    expect(first.map(({ config, state }) => `${config} ${state}`)).to.deep.equal([
      'vanilla done',
      'module-relay failed',
      'static-relay done',
    ]);
    expect(first[1]).to.include({ error: 'it broke', runDir: 'runs/deterministic-w-module-relay-0' });
    const again: string[] = [];
    const second = await measureCells(
      cells,
      spec({
        runCell: async (cell) => {
          again.push(cell.config);
          return done(cell);
        },
      }),
      ctx,
    );
    expect(again).to.deep.equal(['module-relay']);
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
    expect(begun).to.equal(4);
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
    const digests = {
      counter: 'c',
      'program span': 's',
      'program micro': 'm',
      'workload w': 'w',
      'kernel n': 'n',
      'kernel y': 'y',
      'image tiny': 't',
    };
    const [vanilla, , static_] = plan(['deterministic'], 1) as [CellPlan, CellPlan, CellPlan];
    const before = cellDigest(digests, vanilla);
    expect(cellDigest({ ...digests, 'kernel y': 'other', 'image debian': 'd' }, vanilla)).to.equal(before);
    expect(cellDigest({ ...digests, 'kernel y': 'other' }, static_)).not.to.equal(cellDigest(digests, static_));
    for (const name of ['counter', 'program span', 'workload w', 'kernel n', 'image tiny'])
      expect(cellDigest({ ...digests, [name]: 'other' }, vanilla), name).not.to.equal(before);
  });
});

describe('the process of a cell', () => {
  it('says why it failed, and ends', async () => {
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
      workload: 'nonsense',
      lane: 'deterministic',
      repeat: 0,
      size: 'quick',
      verify: false,
      runDir: '/nonexistent/run',
    } as const;
    const step = silentProgress.step('');
    let said: unknown;
    await runCellProcess({ spec, programs: '/nonexistent', folders: ctx }, step, ctx).catch((error: unknown) => {
      said = error;
    });
    expect(said).to.be.instanceOf(LabError);
    expect((said as LabError).message).to.include("there is no workload 'nonsense'");
    expect(runningChildren()).to.deep.equal([]);
  });
});

// SPDX-License-Identifier: MIT
/** What a logging server keeps is evidence as a run is: chained, signed, witnessed, and closed when the machine says so. */
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { type AuditReport, auditRun } from '../../lab/audit/audit.js';
import { findRuns } from '../../lab/audit/boots.js';
import { checkGone } from '../../lab/audit/heads.js';
import type { BootStore } from '../../lab/link/boot-store.js';
import { openRun } from '../../lab/run/folder.js';
import { PointKeeper } from '../../lab/server/keeper.js';
import { bootDir, makePoint, type PointFolder } from '../../lab/server/point.js';
import { parseSubbuf } from '../../lab/trace/subbuf.js';
import { LabError } from '../../lab/util/errors.js';
import { nop, subbuf } from '../support/trace-builder.js';

const ID = { machine: 'web1', bootId: 0xabcn };

describe('the evidence on a logging server', () => {
  let folder: string;
  let point: PointFolder;
  let dir: string;
  let witness: string;
  let told: string[];

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    point = await makePoint(path.join(folder, 'point'));
    dir = bootDir(point, ID);
    witness = path.join(folder, 'data/heads.jsonl');
    told = [];
  });

  afterEach(() => rm(folder, { recursive: true }));

  const keeperOf = (where = point) =>
    new PointKeeper({
      ...{ folder: where, server: '0'.repeat(16), dataDir: path.join(folder, 'data'), segmentBytes: 600 },
      now: () => new Date(),
      onEvent: (event, _id, detail) => told.push(`${event} ${detail}`),
    });

  /** The first so many sub-buffers; those that are there already are passed over. A few fill a segment. */
  const feed = async (store: BootStore, count: number) => {
    for (let number = 0n; number < count; number++) {
      const bytes = subbuf([nop(2n * number + 1n), nop(2n * number + 2n)], { number, bootId: ID.bootId });
      const check = parseSubbuf(bytes);
      if (!check.ok) throw new Error(check.problem.detail);
      await store.append(check.header, bytes);
    }
  };

  const intact = (report: AuditReport) => [report.findings, report.isClosed, report.witnessed === report.entries];

  it('is closed when the machine has said that it was all, and then nothing more is taken', async () => {
    const keeper = keeperOf();
    const store = await keeper.open(ID, 1);
    await feed(store, 20);
    await store.close();
    await keeper.closed(ID, store, new Map());
    const segments = await readdir(path.join(dir, 'segments'));
    expect(segments.length).to.be.greaterThan(3);
    const report = await auditRun(dir, { witness });
    expect(intact(report)).to.deep.equal([[], true, true]);
    expect(report).to.include({ run: '0000000000000abc', files: segments.length + 1 });
    expect(report.resumed).to.deep.equal([]);

    const again = await keeper.open(ID, 1);
    const error = await feed(again, 21).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_LINK_PROTOCOL' });
    await again.close();
    await keeper.closed(ID, again, undefined);
    expect(intact(await auditRun(dir, { witness }))).to.deep.equal([[], true, true]);
    expect((await openRun(dir)).manifest.state).to.equal('complete');
  });

  it('goes on with the chain when a boot that was put away comes again', async () => {
    for (const [round, isEnded] of [false, false, true].entries()) {
      const keeper = keeperOf();
      const store = await keeper.open(ID, 1);
      await feed(store, 3 * round + 3);
      await store.close();
      await keeper.closed(ID, store, isEnded ? new Map() : undefined);
    }
    const report = await auditRun(dir, { witness });
    expect(intact(report)).to.deep.equal([[], true, true]);
    expect(report.resumed).to.have.length(2);
  });

  it('survives a server that is killed, wherever it stood: what it sealed and did not sign, the lab signs', async () => {
    const keeper = keeperOf();
    const store = await keeper.open(ID, 1);
    await feed(store, 11);
    await store.flush();
    const chain = await readFile(path.join(dir, 'chain.jsonl'));
    const entryEnds = [...chain.entries()].filter(([, byte]) => byte === 0x0a).map(([at]) => at + 1);
    expect(entryEnds.length).to.be.greaterThan(2);
    // Before each entry, within it, and behind it: a copy is what a killed server leaves.
    const cuts = entryEnds.flatMap((end) => [end - 200, end]);
    for (const cut of [0, ...cuts]) {
      const killed = path.join(folder, `killed-${cut}`);
      await cp(point.dir, killed, { recursive: true });
      const there = await makePoint(killed);
      const copy = bootDir(there, ID);
      await truncate(path.join(copy, 'chain.jsonl'), cut);
      if (cut < (entryEnds[0] ?? 0)) await truncate(path.join(copy, 'custody.jsonl'), 0);
      else if (cut === entryEnds[0]) await rm(path.join(copy, 'custody.jsonl'));
      const other = keeperOf(there);
      const resumed = await other.open(ID, 1);
      await feed(resumed, 14);
      await resumed.close();
      await other.closed(ID, resumed, new Map());
      const report = await auditRun(copy);
      expect([report.findings, report.isClosed], `cut at ${cut}`).to.deep.equal([[], true]);
    }
    await store.close();
    await keeper.closed(ID, store, undefined);
  });

  it('signs later, and once, what it sealed while the logs could not be written', async () => {
    const keeper = keeperOf();
    const first = await keeper.open(ID, 1);
    await feed(first, 1);
    await first.close();
    for (const [log, count] of [
      [witness, 10],
      [path.join(dir, 'chain.jsonl'), 20],
    ] as const) {
      const store = await keeper.open(ID, 1);
      await rename(log, `${folder}/log`);
      await mkdir(log);
      const error = await feed(store, count).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_ENV_IO' });
      await store.close();
      await rm(log, { recursive: true });
      await rename(`${folder}/log`, log);
    }
    const again = await keeper.open(ID, 1);
    await feed(again, 25);
    await again.close();
    await keeper.closed(ID, again, new Map());
    const report = await auditRun(dir, { witness });
    expect([report.findings, report.isClosed, report.resumed]).to.deep.equal([[], true, []]);
    expect(report.files).to.equal((await readdir(path.join(dir, 'segments'))).length + 1);
  });

  it('of all boots of a machine, or of all machines, is found, and a boot that was taken away is missed', async () => {
    const dirs: string[] = [];
    for (const machine of ['web1', 'web2']) {
      for (const bootId of [1n, 2n]) {
        const keeper = keeperOf();
        const store = await keeper.open({ machine, bootId }, 1);
        await store.close();
        await keeper.closed({ machine, bootId }, store, new Map());
        dirs.push(bootDir(point, { machine, bootId }));
      }
    }
    expect(findRuns(point.dir)).to.deep.equal(dirs);
    expect(findRuns(path.join(point.dir, 'machines/web2'))).to.deep.equal(dirs.slice(2));
    expect(findRuns(dirs[0] ?? '')).to.deep.equal([dirs[0]]);
    expect(await checkGone(witness, point.dir, findRuns(point.dir))).to.deep.equal([]);
    await rm(dirs[1] ?? '', { recursive: true });
    const gone = await checkGone(witness, point.dir, findRuns(point.dir));
    expect(gone.map(({ file }) => file)).to.deep.equal(['machines/web1/boots/0000000000000002']);
  });

  it('lets somebody say later which disk a boot began with, beside the evidence', async () => {
    const keeper = keeperOf();
    const store = await keeper.open(ID, 1);
    await store.close();
    await keeper.closed(ID, store, new Map());
    const image = { kind: 'web', digest: 'd', raw: '/disk.raw' };
    const checkpoints = [{ name: 'start', seq: '0', snapshot: null, sha256: '0'.repeat(64) }];
    await writeFile(path.join(dir, 'base.json'), JSON.stringify({ image, checkpoints }));
    expect((await openRun(dir)).manifest).to.deep.include({ image, checkpoints });
    expect((await auditRun(dir, { witness })).findings).to.deep.equal([]);
    await writeFile(path.join(dir, 'base.json'), '{}');
    const error = await openRun(dir).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_RUN_CORRUPT' });
  });
});

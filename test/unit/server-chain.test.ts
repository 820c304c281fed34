// SPDX-License-Identifier: MIT
/** What a logging server keeps is evidence as a run is: chained, signed, witnessed, and closed when the machine says so. */
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { type AuditReport, auditRun } from '../../lab/audit/audit.js';
import { findRuns, scopeOf } from '../../lab/audit/boots.js';
import { checkGone } from '../../lab/audit/heads.js';
import { isChainClosed, isChainHeld } from '../../lab/evidence/chain.js';
import type { BootStore } from '../../lab/link/boot-store.js';
import { Boots } from '../../lab/link/boots.js';
import { openRun } from '../../lab/run/folder.js';
import { PointKeeper } from '../../lab/server/keeper.js';
import { bootDir, makePoint } from '../../lab/server/point.js';
import { parseSubbuf } from '../../lab/trace/subbuf.js';
import { LabError } from '../../lab/util/errors.js';
import { callVerb } from '../harness/verb.js';
import { nop, subbuf } from '../support/trace-builder.js';

const ID = { machine: 'web1', bootId: 0xabcn };

describe('the evidence on a logging server', () => {
  let folder: string;
  let point: Awaited<ReturnType<typeof makePoint>>;
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

  const keeperOf = (where = point, data = 'data') =>
    new PointKeeper({
      ...{ folder: where, server: where.server, dataDir: path.join(folder, data), segmentBytes: 600 },
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

  it('witnesses on a line of its own, behind half a line that a loss of power left', async () => {
    const keeper = keeperOf();
    const store = await keeper.open(ID, 1);
    await feed(store, 1);
    await writeFile(witness, '{"time":"20', { flag: 'a' });
    await store.close();
    await keeper.closed(ID, store, new Map());
    const lines = (await readFile(witness, 'utf8')).split('\n').slice(0, -1);
    const heads = lines.filter((line) => line !== '{"time":"20').map((line) => JSON.parse(line) as { log: string });
    expect([heads.length, lines.length - heads.length]).to.deep.equal([heads.length, 1]);
    expect(heads.filter(({ log }) => log === 'chain')).to.have.length(3);
  });

  it('tells the end of a chain by its last line, however long that is', async () => {
    const file = path.join(folder, 'chain.jsonl');
    expect(await isChainClosed(folder)).to.equal(false);
    const close = JSON.stringify({ kind: 'close', files: 'x'.repeat(100_000) });
    for (const [text, wanted] of [
      ['', false],
      ['{"kind":"close"', false],
      ['not even read\n{"kind":"close"}\n', true],
      [`{"kind":"segment"}\n${close}\n`, true],
      [`${close}\n{"kind":"segment"}\n{"kind":"clo`, false],
      [`${close}\n{"kind":"seg`, true],
    ] as const) {
      await writeFile(file, text);
      expect(await isChainClosed(folder), text.slice(0, 40)).to.equal(wanted);
    }
  });

  it('keeps in mind that a boot has two histories, and what it has of the first', async () => {
    const keeper = keeperOf();
    const store = await keeper.open(ID, 1);
    await feed(store, 3);
    expect(store.forked).to.equal(undefined);
    await keeper.forked(ID, 'for a test');
    await store.close();
    await keeper.closed(ID, store, undefined);
    const next = keeperOf();
    const again = await next.open(ID, 1);
    expect([again.forked, again.totals.subbufs, told.includes('forked for a test')]).to.deep.equal([
      'for a test',
      3,
      true,
    ]);
    await again.close();
    await next.closed(ID, again, undefined);
    expect((await auditRun(dir)).findings).to.deep.equal([]);
  });

  it('leaves a segment that it has signed as it is, though it is damaged, and says so', async () => {
    const keeper = keeperOf();
    const store = await keeper.open(ID, 1);
    await feed(store, 20);
    await store.close();
    await keeper.closed(ID, store, undefined);
    const name = (await readdir(path.join(dir, 'segments'))).at(-1) ?? '';
    const file = path.join(dir, 'segments', name);
    const whole = await readFile(file);
    const holed = Buffer.from(whole).fill(0, 64, whole.length - 64);
    await writeFile(file, holed);
    const other = keeperOf();
    const found = await other.open(ID, 1);
    expect(told.filter((line) => line.startsWith(`damaged ${name}: its seal says`))).to.have.length(1);
    // What is not whole is not told of as here: who has it still may send it.
    expect(Number(found.reached.get(0))).to.be.below(20);
    await found.close();
    await other.closed(ID, found, undefined);
    expect(await readFile(file)).to.deep.equal(holed);
    expect((await auditRun(dir)).findings.map(({ file: harmed }) => harmed)).to.include(`segments/${name}`);
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

  it('is let go of when its store has failed and cannot be opened again', async () => {
    const boots = new Boots(keeperOf(), 60_000);
    const owner = { refuse: () => {}, done: Promise.resolve() };
    const boot = await boots.claim(ID, 1, owner);
    await feed(boot.store as BootStore, 3);
    expect(await isChainHeld(dir)).to.equal(true);
    const [segments, aside] = [path.join(dir, 'segments'), path.join(folder, 'aside')];
    await rename(segments, aside);
    await writeFile(segments, 'no folder');
    expect(await boots.reopen(boot, new Map()).catch((reason: unknown) => reason)).to.be.instanceOf(LabError);
    await boots.release(boot, owner);
    expect([await isChainHeld(dir), [...boots.open]]).to.deep.equal([false, []]);
    await rm(segments);
    await rename(aside, segments);
    const again = await boots.claim(ID, 1, owner);
    again.ends = new Map();
    void boots.release(again, owner);
    await boots.close();
    expect(intact(await auditRun(dir, { witness }))).to.deep.equal([[], true, true]);
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
    // A copy somewhere else is compared as the original is.
    const copy = path.join(folder, 'copy');
    await cp(point.dir, copy, { recursive: true });
    const missed = async (...below: string[]) => {
      const { status, stdout } = await callVerb('audit', path.join(copy, ...below), '--head', witness, '--json');
      const said = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, string>);
      return [status, said.filter(({ type }) => type === 'finding').map(({ file, what }) => `${file} ${what}`)];
    };
    expect(await missed()).to.deep.equal([0, []]);
    expect(await missed('machines/web1')).to.deep.equal([0, []]);
    await rm(path.join(copy, 'machines/web1/boots/0000000000000002'), { recursive: true });
    const gone = /^boots\/0000000000000002 is gone: the witness \S+ saw run [0-9a-f]{32} of web1 there$/;
    const [status, [first, ...more]] = (await missed('machines/web1')) as [number, string[]];
    expect([status, more]).to.deep.equal([1, []]);
    expect(first).to.match(gone);
    const [, [other]] = (await missed()) as [number, string[]];
    expect(other?.replace('machines/web1/', '')).to.match(gone);
    expect(await missed('machines/web2')).to.deep.equal([0, []]);
    // Of a machine whose folder is empty, and of no other.
    await rm(path.join(copy, 'machines/web2/boots'), { recursive: true });
    await mkdir(path.join(copy, 'machines/web2/boots'));
    expect(((await missed('machines/web2'))[1] as string[]).length).to.equal(2);
    expect(((await missed())[1] as string[]).length).to.equal(3);
    const left = path.join(copy, 'machines/web1/boots/0000000000000001');
    await rename(left, path.join(copy, 'machines/web2/boots/0000000000000001'));
    expect((await missed('machines/web2'))[1]).to.include(
      'boots/0000000000000001 is the folder of another boot: it holds 0000000000000001 of web1',
    );
  });

  it('is missed by where it lay, if its heads do not say whose it is, as older versions wrote them', async () => {
    const dirs: string[] = [];
    for (const bootId of [1n, 2n]) {
      const keeper = keeperOf();
      const store = await keeper.open({ machine: 'web1', bootId }, 1);
      await store.close();
      await keeper.closed({ machine: 'web1', bootId }, store, new Map());
      dirs.push(bootDir(point, { machine: 'web1', bootId }));
    }
    const old = path.join(folder, 'old.jsonl');
    const lines = (await readFile(witness, 'utf8')).trimEnd().split('\n');
    const bare = lines.map((line) => ({ ...JSON.parse(line), run: undefined, machine: undefined, server: undefined }));
    // A run that was recorded in a folder near by is no boot of the server.
    const near = { ...bare[0], id: '0'.repeat(32), folder: path.join(point.dir, 'runs/r') };
    await writeFile(old, [...bare, near].map((head) => `${JSON.stringify(head)}\n`).join(''));
    const missed = async (below: string) => {
      const where = path.join(point.dir, below);
      const found = await Promise.all(findRuns(where).map(async (boot) => ({ dir: boot, id: await idOf(boot) })));
      return (await checkGone(old, where, scopeOf(where, []), found)).map(({ file, what }) => `${file} ${what}`);
    };
    const idOf = async (boot: string) => (await auditRun(boot)).id ?? undefined;
    expect(await missed('.')).to.deep.equal([]);
    const id = await idOf(dirs[1] ?? '');
    await rm(dirs[1] ?? '', { recursive: true });
    const said = `boots/0000000000000002 is gone: the witness ${old} saw run ${id} there`;
    expect(await missed('.')).to.deep.equal([`machines/web1/${said}`]);
    expect(await missed('machines/web1')).to.deep.equal([said]);
  });

  it('has nothing to audit before a machine has sent anything, and says so', async () => {
    const error = await callVerb('audit', point.dir).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_RUN_UNKNOWN' });
  });

  it('is contradicted by its witness wherever it lies: a boot that was forged in another folder', async () => {
    const receive = async (where: typeof point, data: string) => {
      const keeper = keeperOf(where, data);
      const store = await keeper.open(ID, 1);
      await feed(store, 3);
      await store.close();
      await keeper.closed(ID, store, new Map());
      return bootDir(where, ID);
    };
    const { id } = await auditRun(await receive(point, 'data'), { witness });
    // A second server of the same lab has the same boot as well: neither is in the other's place.
    const mirror = await receive(await makePoint(path.join(folder, 'mirror')), 'data');
    expect(intact(await auditRun(mirror, { witness, heads: [witness] }))).to.deep.equal([[], true, true]);
    expect(intact(await auditRun(dir, { witness, heads: [witness] }))).to.deep.equal([[], true, true]);

    await mkdir(path.join(folder, 'thief'));
    for (const name of ['lab-key.pem', 'lab-key.pub.pem'])
      await cp(path.join(folder, 'data', name), path.join(folder, 'thief', name));
    const elsewhere = path.join(folder, 'elsewhere');
    await mkdir(elsewhere);
    await cp(path.join(point.dir, 'server.json'), path.join(elsewhere, 'server.json'));
    const forged = await receive(await makePoint(elsewhere), 'thief');
    const found = async () => (await auditRun(forged, { witness })).findings.map(({ what }) => what);
    expect(await found()).to.deep.equal([`saw this boot begin as another run: ${id}`]);
    // Nor does it help to let the witness see the forged one too.
    await appendFile(witness, await readFile(path.join(folder, 'thief/heads.jsonl')));
    expect(await found()).to.deep.equal([`saw this boot begin as another run: ${id}`]);
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

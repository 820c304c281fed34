// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { auditRun } from '../../lab/audit/audit.js';
import { mergeLines } from '../../lab/cli/verbs/merge.js';
import { writeManifest } from '../../lab/run/manifest.js';
import { type MergeReport, mergeRuns } from '../../lab/run/merge.js';
import { partOf } from '../../lab/trace/parts.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { statsOf } from '../../lab/trace/stats.js';
import type { LabContext } from '../../lab/util/context.js';
import { LabError } from '../../lab/util/errors.js';
import { silentLog } from '../../lab/util/log.js';
import { silentProgress } from '../../lab/util/progress.js';
import { manifestOf, traceOf } from '../support/manifest.js';
import { collect, writeSegments } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

const BOOT = 0x1122334455667788n;

/** Sub-buffers of a boot on two CPUs: numbers, effects and sums come out. */
function boot(count: number): { readonly cpu: number; readonly bytes: Buffer }[] {
  return Array.from({ length: count }, (_none, i) => {
    const cpu = i % 2;
    const number = BigInt(i >> 1);
    const options = { cpu, number, issued: number + 1n, monoNs: BigInt(i) * 1000n };
    return { cpu, bytes: b.subbuf([b.nop(BigInt(i + 1))], options) };
  });
}

/** One record changed, the checksum right. */
function forged(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  other.writeUInt32LE(4711, 96 + 8);
  return b.reseal(other);
}

describe('merging what storage points hold', () => {
  let folder: string;
  let ctx: LabContext;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    ctx = {
      ...{ log: silentLog, progress: silentProgress, signal: new AbortController().signal },
      ...{ cacheDir: path.join(folder, 'cache'), dataDir: path.join(folder, 'data'), runsDir: folder },
    };
  });

  afterEach(() => rm(folder, { recursive: true }));

  /** A storage point that holds these sub-buffers. */
  async function point(
    name: string,
    subbufs: readonly Buffer[],
    counted = subbufs,
    state: 'complete' | 'recording' = 'complete',
  ): Promise<string> {
    const dir = path.join(folder, name);
    await mkdir(dir);
    if (subbufs.length > 0) await writeSegments(dir, subbufs, 400);
    else await mkdir(segmentsFolder(dir));
    await writeManifest(path.join(dir, 'run.json'), manifestOf({ name, smp: 2, state, trace: traceOf(counted) }));
    return dir;
  }

  async function merge(dirs: readonly string[], copies = 1, proven: readonly string[] = []): Promise<MergeReport> {
    const sources = dirs.map((dir) => ({ dir, isProven: proven.includes(dir), head: null, lab: null }));
    return mergeRuns({ sources, runDir: path.join(folder, 'merged'), force: true, copies }, ctx);
  }

  /** What the merged run holds, as numbers of CPU 0 and of CPU 1. */
  async function merged(): Promise<Buffer[]> {
    const items = await collect(readSegments(segmentsFolder(path.join(folder, 'merged'))));
    return items.flatMap((item) => (item.type === 'subbuf' ? [Buffer.from(item.bytes)] : []));
  }

  const all = boot(20);
  const bytesOf = (some: readonly { readonly bytes: Buffer }[]) => some.map(({ bytes }) => bytes);

  it('makes one of mirrored copies, counts them, and signs it', async () => {
    // The same streams, in another order.
    const other = [...all.filter(({ cpu }) => cpu === 1), ...all.filter(({ cpu }) => cpu === 0)];
    const report = await merge([await point('a', bytesOf(all)), await point('b', bytesOf(other))], 2);
    expect(report).to.deep.include({ copies: { 2: 20 }, missing: [], disagreements: [], tooFew: [], again: 0 });
    expect(await merged()).to.deep.equal(bytesOf(all));
    const dir = path.join(folder, 'merged');
    expect((await statsOf(dir)).account).to.include({ isComplete: true, effects: 20n });
    expect(await auditRun(dir)).to.deep.include({ findings: [], isClosed: true });
    expect(JSON.parse(await readFile(path.join(dir, 'merge.json'), 'utf8'))).to.deep.include({ copies: { 2: 20 } });
  });

  it('puts shards together, and says which have fewer copies than wanted', async () => {
    const shards = [0, 1].map((wanted) => bytesOf(all.filter(({ cpu }) => cpu === wanted)));
    const dirs = [await point('a', shards[0] ?? []), await point('b', shards[1] ?? [])];
    const extra = await point('c', (shards[1] ?? []).slice(0, 4));
    const report = await merge([...dirs, extra], 2);
    expect(report.copies).to.deep.equal({ 1: 16, 2: 4 });
    expect(report.tooFew).to.deep.equal([
      { cpu: 0, first: '0', last: '9' },
      { cpu: 1, first: '4', last: '9' },
    ]);
    expect((await statsOf(path.join(folder, 'merged'))).account.isComplete).to.equal(true);
  });

  it('names what only sources have whose chains are not whole, and takes no parts of such for proven', async () => {
    const [a, half] = [await point('a', bytesOf(all)), await point('b', bytesOf(all).slice(0, 10))];
    const report = await merge([a, half], 1, [half]);
    expect(report.unproven).to.deep.equal([
      { cpu: 0, first: '5', last: '9' },
      { cpu: 1, first: '5', last: '9' },
    ]);
    expect(mergeLines(report)).to.include('cpu 1: sub-buffers 5 to 9: NOT PROVEN: in no source whose chain is whole');
    const dirs = [await point('c', parts('network')), await point('d', parts('disk'))];
    expect((await merge(dirs, 1, dirs)).unproven).to.deep.equal([]);
    expect((await merge(dirs, 1, dirs.slice(1))).unproven).to.have.length(2);
  });

  it('knows the end of a record only from a source that has it, or all of them', async () => {
    const shards = [0, 1].map((wanted) => bytesOf(all.filter(({ cpu }) => cpu === wanted)));
    const first = await point('a', shards[0] ?? []);
    const cut = await point('b', (shards[1] ?? []).slice(0, 7), [], 'recording');
    expect((await merge([first, cut])).isOpen).to.equal(true);
    const mirror = await point('c', bytesOf(all));
    expect((await merge([first, cut, mirror])).isOpen).to.equal(false);
    expect((await merge([first, await point('d', shards[1] ?? [])])).isOpen).to.equal(false);
  });

  it('knows no whole record where nobody has anything of a CPU, and none that a mark lies behind', async () => {
    // CPU 1 has no effects: its numbers leave no hole.
    const [first, second] = [0, 1].map((cpu) =>
      [0n, 1n].map((number) =>
        b.subbuf([cpu === 0 ? b.nop(number + 1n) : b.entry(39)], { cpu, number, issued: number + 1n }),
      ),
    );
    const a = await point('a', first ?? []);
    const alone = await merge([a]);
    expect([alone.unseen, alone.isOpen, alone.missing]).to.deep.equal([[{ first: 1, last: 1 }], false, []]);
    expect(mergeLines(alone).join('\n')).to.match(/^cpu 1: NOTHING in any source/m);
    const stateOf = async () => JSON.parse(await readFile(path.join(folder, 'merged/run.json'), 'utf8')).state;
    expect(await stateOf()).to.equal('torn');
    expect((await merge([a, await point('b', second ?? [])])).unseen).to.deep.equal([]);
    expect(await stateOf()).to.equal('complete');
    const marks = ['7', '3'].map((seq) => ({ label: 'm', seq, realNs: '0', snapshot: 's' }));
    const marked = { name: 'c', smp: 2, state: 'complete', trace: traceOf(second ?? []), marks } as const;
    await writeManifest(path.join(await point('c', second ?? []), 'run.json'), manifestOf(marked));
    expect((await merge([a, path.join(folder, 'c')])).markSeq).to.equal('7');
  });

  /** Two CPUs that write, and talk to somebody. */
  const mixed = Array.from({ length: 12 }, (_none, i) => {
    const [cpu, number] = [i % 2, BigInt(i >> 1)];
    const call = b.entry(44, [3, i, 5, 0, 0, 0], [b.tlv('BUF_IN', `packet ${i}`)], { flags: FLAG.F_SOCKET });
    const records = [b.nop(BigInt(i + 1)), call, b.entry(39)];
    return b.subbuf(records, { cpu, number, issued: 3n * (number + 1n), monoNs: BigInt(i) * 1000n });
  });
  const parts = (category: 'network' | 'disk') => mixed.map((whole) => partOf(whole, category));

  it('takes the word of a machine for how much there is, of CPUs that nobody has and behind what anybody has', async () => {
    const subbufs = boot(8);
    const of = (cpu: number) => subbufs.flatMap((item) => (item.cpu === cpu ? [item.bytes] : []));
    const made = { '0': '4', '1': '4', '2': '0' };
    const received = { machine: 'm', boot: BOOT.toString(16), cpus: 4, server: '0'.repeat(16), made };
    const told = async (name: string, held: readonly Buffer[], state: 'complete' | 'recording') => {
      const dir = await point(name, held);
      const { format, created, image, checkpoints, marks, disk, problems } = manifestOf({ name });
      const rest = { format, created, image, checkpoints, marks, disk, problems };
      await writeManifest(path.join(dir, 'run.json'), { ...rest, name, state, trace: traceOf(held), received });
      return dir;
    };
    const a = await told('a', of(0), 'complete');
    const alone = await merge([a]);
    expect([alone.unseen, alone.isOpen]).to.deep.equal([[], false]);
    expect(alone.missing).to.deep.equal([{ cpu: 1, first: '0', last: '3' }]);
    // A server that did not hear the end, and lacks the last one.
    const short = await merge([a, await point('b', of(1).slice(0, 3), undefined, 'recording')]);
    expect([short.isOpen, short.missing]).to.deep.equal([false, [{ cpu: 1, first: '3', last: '3' }]]);
    const whole = await merge([a, await point('c', of(1), undefined, 'recording')]);
    expect([whole.unseen, whole.isOpen, whole.missing]).to.deep.equal([[], false, []]);
    // A relay goes on behind the end of the servers: what it has not had of that, nobody knows.
    const all = await told(
      'd',
      boot(8).map(({ bytes }) => bytes),
      'complete',
    );
    const relay = await point(
      'e',
      boot(10).flatMap(({ cpu, bytes }) => (cpu === 0 ? [bytes] : [])),
      undefined,
      'recording',
    );
    expect((await merge([all, relay])).isOpen).to.equal(true);
  });

  it('joins the parts of categories, counts their copies, and compares them with wholes', async () => {
    const [network, disk] = [await point('a', parts('network')), await point('b', parts('disk'))];
    const whole = await point('c', mixed.slice(0, 4));
    expect((await statsOf(network)).account).to.deep.include({ isComplete: false, isHonest: true, elsewhere: 24n });
    expect((await statsOf(disk)).account).to.deep.include({ isHonest: true, elsewhere: 12n, missing: 0n });
    const report = await merge([network, disk, whole]);
    expect(report).to.deep.include({ copies: { 1: 8, 2: 4 }, missing: [], parts: [], disagreements: [], tooFew: [] });
    expect(await merged()).to.deep.equal(mixed);
    expect((await statsOf(path.join(folder, 'merged'))).account.isComplete).to.equal(true);
    const again = await merge([network, disk, await point('d', parts('disk').slice(2))], 2);
    expect([again.copies, again.tooFew.length]).to.deep.equal([{ 1: 12 }, 2]);
  });

  it('keeps the part that there is, and says that it is no more', async () => {
    const report = await merge([
      await point('a', parts('network').toSpliced(4, 2)),
      await point('b', parts('disk').toSpliced(8, 1)),
    ]);
    expect(report.parts).to.deep.equal([
      { cpu: 0, first: '4', last: '4', category: 'network' },
      { cpu: 0, first: '2', last: '2', category: 'disk' },
      { cpu: 1, first: '2', last: '2', category: 'disk' },
    ]);
    expect(report.copies).to.deep.equal({ 0: 3, 1: 9 });
    const lines = mergeLines(report);
    expect(lines).to.include('cpu 0: sub-buffer 4: MISSING but for the part of category network');
    const expected = mixed.with(8, parts('network')[8] ?? Buffer.alloc(0));
    for (const i of [4, 5]) expected[i] = parts('disk')[i] ?? Buffer.alloc(0);
    expect(await merged()).to.deep.equal(expected);
    const { account } = await statsOf(path.join(folder, 'merged'));
    expect([account.isComplete, account.elsewhere, account.missing]).to.deep.equal([false, 4n, 0n]);
  });

  /** A part of the disk in which one record was changed. */
  const forgedPart = (i: number) => {
    const other = Buffer.from(parts('disk')[i] ?? Buffer.alloc(0));
    other.writeUInt32LE(4711, other.length - 16 + 8);
    return b.reseal(other);
  };
  const told = ({ disagreements }: MergeReport) =>
    disagreements.map(({ cpu, number, contents }) => [cpu, number, contents.map(({ sources }) => sources)]);

  it('shows where a part does not fit to the whole, or to the other part', async () => {
    const wrong = parts('disk').with(1, forgedPart(1)).with(6, forgedPart(6));
    const dirs = [await point('a', parts('network')), await point('b', wrong), await point('c', mixed.slice(0, 3))];
    const report = await merge(dirs);
    expect(told(report)).to.deep.equal([
      [1, '0', [[0, 2], [1]]],
      [0, '3', [[1], [0]]],
    ]);
    expect(report.parts).to.deep.equal([{ cpu: 0, first: '3', last: '3', category: 'disk' }]);
  });

  it('takes what a point has whole beside its part for what the others lack, and as one copy', async () => {
    const disk = await point('a', [...parts('disk').slice(0, 8), ...mixed.slice(8)], mixed);
    const wholes = await point('w', mixed.slice(4, 8));
    await rename(segmentsFolder(wholes), path.join(disk, 'segments-whole'));
    const report = await merge([disk, await point('b', parts('network').slice(0, 6))], 2);
    expect(report).to.deep.include({ copies: { 1: 12 }, missing: [], parts: [], disagreements: [] });
    expect(report.sources[0]?.subbufs).to.equal(16);
    expect(await merged()).to.deep.equal(mixed);
    expect(await readdir(path.join(folder, 'merged'))).not.to.include('segments-whole');
    // Its own two contradict each other.
    const liar = await point('c', parts('disk'));
    await rename(
      segmentsFolder(await point('l', [forged(mixed[0] ?? Buffer.alloc(0))])),
      path.join(liar, 'segments-whole'),
    );
    expect(told(await merge([liar, await point('d', parts('network'))]))).to.deep.equal([[0, '0', [[0, 1], [0]]]]);
    expect(await merged()).to.deep.equal(mixed);
  });

  it('takes the parts that make a whole before one that makes none, and proven parts before a whole that is not', async () => {
    const wrong = mixed.map((_whole, i) => forgedPart(i));
    const dirs = [await point('a', wrong), await point('b', parts('network')), await point('c', parts('disk'))];
    const report = await merge(dirs);
    expect(told(report)[0]).to.deep.equal([0, '0', [[1, 2], [0]]]);
    expect([report.copies, report.parts]).to.deep.equal([{ 1: 12 }, []]);
    expect(await merged()).to.deep.equal(mixed);
    const lies = mixed.map((whole) => forged(whole));
    const proven = [...dirs.slice(1), await point('d', lies)];
    expect(told(await merge(proven, 1, dirs.slice(1)))[0]).to.deep.equal([0, '0', [[0, 1], [2]]]);
    expect(await merged()).to.deep.equal(mixed);
  });

  it('takes what more sources bear out, if they have no more than parts', async () => {
    const lies = mixed.map((whole) => forged(whole));
    const dirs = [await point('a', lies), await point('b', parts('network')), await point('c', parts('disk'))];
    const report = await merge(dirs, 1, dirs.slice(1, 2));
    expect(told(report)[0]).to.deep.equal([0, '0', [[1, 2], [0]]]);
    expect(await merged()).to.deep.equal(mixed);
  });

  it('accounts for the part of a record with losses', async () => {
    // One loss names effects 2 to 5, and the other CPU recorded 3 and 4.
    const loss = b.loss(FLAG.LOSS_LOSSY, { seq_first: 2n, seq_last: 5n, effects: 2, records: 2 });
    const lossy = [
      b.subbuf([b.nop(1n), loss, b.nop(6n)], { cpu: 0, issued: 5n, dropped: 2n }),
      b.subbuf([b.nop(3n), b.nop(4n)], { cpu: 1, issued: 2n }),
    ];
    for (const category of ['network', 'disk'] as const) {
      const dir = await point(
        category,
        lossy.map((whole) => partOf(whole, category)),
      );
      expect((await statsOf(dir)).account).to.include({ isHonest: true, isComplete: false, missing: 0n });
    }
  });

  it('counts no part as a copy that leaves out what is its own', async () => {
    const emptied = mixed.map((whole, i) => {
      const part = Buffer.concat([parts('disk')[i]?.subarray(0, 96 + 48) ?? whole, b.elsewhere(3, whole.length - 96)]);
      b.putStruct(part, 0, 'lemona_subbuf', { length: part.length, records: 2, effects: 0, seq_first: 0, seq_last: 0 });
      return b.reseal(part);
    });
    const report = await merge(
      [await point('a', mixed), await point('b', parts('network')), await point('c', emptied)],
      2,
    );
    expect([report.copies, report.tooFew.length]).to.deep.equal([{ 1: 12 }, 2]);
    expect(told(report)).to.have.length(12);
  });

  it('names what no copy has', async () => {
    const holes = (lost: readonly number[]) => bytesOf(all.filter((_item, i) => !lost.includes(i)));
    const report = await merge([await point('a', holes([2, 4, 7])), await point('b', holes([2, 4, 9, 10]))]);
    expect(report.missing).to.deep.equal([{ cpu: 0, first: '1', last: '2' }]);
    expect((await statsOf(path.join(folder, 'merged'))).account.isHonest).to.equal(false);
    expect(mergeLines(report)).to.include('cpu 0: sub-buffers 1 to 2: MISSING from all sources');
  });

  it('shows where copies disagree, and takes the proven one, or else what most have', async () => {
    const wrong = bytesOf(all).with(5, forged(all[5]?.bytes ?? Buffer.alloc(0)));
    const dirs = [await point('a', wrong), await point('b', bytesOf(all)), await point('c', wrong)];
    const byCount = await merge(dirs);
    expect(
      byCount.disagreements.map(({ cpu, number, contents }) => [cpu, number, contents.map((c) => c.sources)]),
    ).to.deep.equal([[1, '2', [[0, 2], [1]]]]);
    expect(await merged()).to.deep.equal(wrong);
    await merge(dirs, 1, [dirs[1] ?? '']);
    expect(await merged()).to.deep.equal(bytesOf(all));
  });

  it('takes from another copy what one has damaged, and says so', async () => {
    const a = await point('a', bytesOf(all));
    const b2 = await point('b', bytesOf(all));
    const segment = path.join(a, 'segments/000002.seg');
    const bytes = await readFile(segment);
    bytes[64 + 100] = (bytes[64 + 100] ?? 0) ^ 1;
    await writeFile(segment, bytes);
    const report = await merge([a, b2], 2);
    expect(report.sources[0]?.problems.map(({ segment: number, kind }) => [number, kind])).to.deep.equal([
      [2, 'corrupt'],
    ]);
    expect(report.missing).to.deep.equal([]);
    expect(report.tooFew.length).to.be.greaterThan(0);
    expect(await merged()).to.deep.equal(bytesOf(all));
  });

  it('says that a source lost its end, and what a source has twice', async () => {
    const cut = await point('a', bytesOf(all).slice(0, 18), bytesOf(all));
    const twice = bytesOf(all).toSpliced(6, 0, all[2]?.bytes ?? Buffer.alloc(0));
    const report = await merge([cut, await point('b', twice)]);
    expect(report.sources.map(({ gone }) => gone !== null)).to.deep.equal([true, false]);
    expect(report.again).to.equal(1);
    expect(await merged()).to.deep.equal(bytesOf(all));
  });

  it('refuses other boots, itself as a source and nothing at all, and leaves nothing behind', async () => {
    const a = await point('a', bytesOf(all));
    const foreign = await point('b', [b.subbuf([b.nop(1n)], { bootId: BOOT + 1n })]);
    const empty = await point('c', []);
    const refused = async (work: () => Promise<unknown>) => {
      const error = await work().catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(LabError);
      return (error as LabError).message;
    };
    expect(await refused(() => merge([a, foreign]))).to.match(
      /different boots: 1122334455667788 in .*a; 1122334455667789/,
    );
    expect(await refused(() => merge([empty]))).to.match(/hold no good sub-buffer$/);
    const sources = [{ dir: a, isProven: false, head: null, lab: null }];
    const self = { sources, runDir: a, force: true, copies: 1 };
    expect(await refused(() => mergeRuns(self, ctx))).to.match(/is one of the sources/);
    const controller = new AbortController();
    controller.abort();
    const stopped = { ...ctx, signal: controller.signal };
    await refused(() => mergeRuns({ sources, runDir: path.join(folder, 'merged'), force: false, copies: 1 }, stopped));
    expect((await readdir(folder)).sort()).to.deep.equal(['a', 'b', 'c']);
  });
});

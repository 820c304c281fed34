// SPDX-License-Identifier: MIT
import { open } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { buildKernel } from '../../guest-kernel/build.js';
import { ext4Env } from '../../images/ext4.js';
import { URING_OPS } from '../../lab/abi/uring.js';
import { ROOT } from '../../lab/cli/invocation.js';
import { Child } from '../../lab/proc/child.js';
import type { CopyIn } from '../../lab/run/copy-in.js';
import type { RunManifest } from '../../lab/run/manifest.js';
import { stderrProgress } from '../../lab/util/progress.js';
import { describeMismatch } from '../../replay/control.js';
import { openSource, rootDevOf } from '../../replay/source.js';
import type { VerifyRunResult } from '../../replay/verify.js';
import { accountOf, type Bench, testSeed, useBench } from '../harness/boot.js';
import { laidOut } from '../harness/features.js';
import { guestProgram } from '../harness/program.js';
import { sh } from '../harness/sh.js';
import { groupScript, MODULE, WAY_GROUPS, type Way, type WayGroup } from './ways.js';
import { readActors, type Seen, wayAt, wayOfPath } from './ways-actors.js';

interface Recorded {
  readonly manifest: RunManifest;
  readonly output: string;
  readonly isComplete: boolean;
  readonly verdict: VerifyRunResult;
  readonly seen: ReadonlyMap<string, Seen>;
}

/** Differences shown of a way: the same one comes back at every later mark. */
const SHOWN = 6;

async function secondDisk(folder: string, group: WayGroup): Promise<string[]> {
  if (group.secondDiskMiB === undefined) return [];
  const file = path.join(folder, 'second.raw');
  const disk = await open(file, 'w');
  await disk.truncate(group.secondDiskMiB * 1024 * 1024);
  await disk.close();
  const image = ['-blockdev', `driver=file,node-name=second,filename=${file.replaceAll(',', ',,')},cache.no-flush=on`];
  if (group.secondDiskIops === undefined) return [...image, '-device', 'virtio-blk-pci,drive=second'];
  return [
    ...image,
    ...['-object', `throttle-group,id=pace,x-iops-total=${group.secondDiskIops}`],
    ...['-blockdev', 'driver=throttle,node-name=slow,throttle-group=pace,file=second'],
    ...['-device', 'virtio-blk-pci,drive=slow'],
  ];
}

async function prepareDisk(raw: string, { layout, damage }: WayGroup): Promise<void> {
  if (layout !== undefined) await laidOut(layout)(raw);
  if (damage !== undefined) await sh({ env: ext4Env() })`debugfs -w -R ${damage} ${raw}`;
}

async function moduleFor(group: WayGroup, bench: Bench): Promise<CopyIn[]> {
  if (!group.ways.some(({ arg }) => arg === MODULE)) return [];
  const { module } = await buildKernel('m', { ...bench.ctx, progress: stderrProgress() });
  if (module === null) throw new Error('the kernel with a module has none');
  return [{ source: module, destination: MODULE }];
}

async function recordGroup(group: WayGroup, bench: Bench): Promise<Recorded> {
  const program = await guestProgram('ways', bench.folder);
  const qemuArgs = await secondDisk(bench.folder, group);
  const { manifest, output } = await bench.record('r', groupScript(group, testSeed()), {
    smp: group.smp,
    ...(group.memoryMiB === undefined ? {} : { memoryMiB: group.memoryMiB }),
    ...(group.kernelArgs === undefined ? {} : { kernelArgs: group.kernelArgs }),
    ...(group.mountOptions === undefined ? {} : { mountOptions: group.mountOptions }),
    tune: (raw) => prepareDisk(raw, group),
    qemuArgs,
    copyIn: [{ source: program, destination: '/root/ways' }, ...(await moduleFor(group, bench))],
  });
  const runDir = bench.runDir('r');
  const { isComplete } = await accountOf(runDir);
  const { signal } = bench.ctx;
  const source = await openSource(runDir, signal);
  const seen = await readActors(runDir, source.index, group.ways, await rootDevOf(source, signal));
  await source.index.close();
  return { manifest, output, isComplete, verdict: await bench.verify('r'), seen };
}

/** Differences by mark and path, those of one way or, without one, those of none. */
function differences({ verdict }: Recorded, ways: readonly Way[], way: Way | undefined): string[] {
  const lines = verdict.marks.flatMap((mark) =>
    mark.first
      .filter((difference) => wayOfPath(ways, difference.path) === way)
      .map((d) => `${mark.mark}: ${d.path}: ${d.field}: rebuilt ${d.rebuilt}, truth ${d.truth}`),
  );
  return lines.length > SHOWN ? [...lines.slice(0, SHOWN), `… ${lines.length} differences in all`] : lines;
}

/** Everything that is not as the row says; empty if all is well. */
function problemsOf(way: Way, group: WayGroup, recorded: Recorded): string[] {
  const { manifest, output, verdict, seen } = recorded;
  const problems: string[] = [];
  const isHere = (seq: bigint) => wayAt(group.ways, manifest.marks, seq) === way.name;
  if (!output.includes(`way ${way.name} ended with 0\n`)) problems.push(`it failed: ${output}`);
  if (!manifest.marks.some((mark) => mark.label === way.name)) problems.push('there is no mark after it');
  if (way.ms !== undefined && !manifest.marks.some((mark) => mark.label === `${way.name}.0`))
    problems.push('there is no mark beside it');
  if (way.mayDiffer !== true) problems.push(...differences(recorded, group.ways, way));
  problems.push(...verdict.replay.first.filter(({ seq }) => isHere(seq)).map(describeMismatch));

  const taints = verdict.replay.taints.filter(({ seq }) => isHere(seq));
  if (way.taint !== undefined && taints.length === 0) problems.push('the rebuild says nothing of a taint');
  for (const { seq, text } of taints)
    if (way.taint?.test(text) !== true) problems.push(`effect ${seq} is a taint: ${text}`);

  const counts = seen.get(way.name);
  if (counts === undefined) throw new Error(`${way.name} was not looked at`);
  for (const [op, least] of Object.entries(way.effects)) {
    const count = [...counts.ops].find(([name]) => name === op)?.[1] ?? 0;
    if (count < least) problems.push(`${count} effects ${op}, wanted at least ${least}`);
  }
  for (const op of way.without ?? [])
    if (counts.ops.has(op)) problems.push(`${counts.ops.get(op)} effects ${op}, wanted none`);
  for (const call of way.calls ?? []) if (!counts.calls.has(call)) problems.push(`no ${call}() was recorded`);
  for (const request of way.requests ?? []) {
    const { submit = 0, issue = 0, good = 0 } = counts.requests.get(request) ?? {};
    if (submit === 0 || issue === 0 || good === 0)
      problems.push(`request ${request}: ${submit} submitted and ${issue} issued by its process, ${good} done well`);
  }
  for (const request of way.cancelled ?? []) {
    const { submit = 0, complete = 0, good = 0 } = counts.requests.get(request) ?? {};
    if (submit === 0 || complete === 0 || good > 0)
      problems.push(`request ${request}: ${submit} submitted, ${complete} ended, ${good} of them well`);
  }
  for (const wanted of way.captured ?? [])
    if (![...counts.captured].some((text) => wanted.test(text)))
      problems.push(`no request led to ${wanted}, but to ${[...counts.captured].join('\n')}`);
  for (const [request, { submit, complete }] of counts.requests) {
    const least = way.multishot?.[request];
    if (least === undefined ? complete > submit : complete < least)
      problems.push(`request ${request}: ${submit} submitted, but ${complete} ended`);
  }
  for (const euid of way.euids ?? [])
    if (!counts.euids.has(euid))
      problems.push(`no request ran as user ${euid}, only as ${[...counts.euids].join(', ')}`);
  if (way.worker && counts.byThreads === 0) problems.push('no effect is by a worker thread');
  if (way.kernelThreads && counts.byKernelThreads === 0)
    problems.push(`no effect is by a kernel thread ${way.kernelThreads}`);
  problems.push(...counts.strangers);
  if (counts.strangersCount > counts.strangers.length)
    problems.push(`… ${counts.strangersCount} effects in all are by somebody else`);
  return problems;
}

describe('ways round the system call', () => {
  it('each operation of io_uring is in one', () => {
    const ways = WAY_GROUPS.flatMap((group) => group.ways);
    const used = new Set(ways.flatMap(({ requests = [], cancelled = [] }) => [...requests, ...cancelled]));
    expect(URING_OPS.map(({ name }) => name).filter((name) => !used.has(name))).to.deep.equal([]);
  });
});

for (const group of WAY_GROUPS) {
  describe(`ways round the system call: ${group.title}`, () => {
    const bench = useBench('suite');
    let recorded: Recorded;

    before(async () => {
      recorded = await recordGroup(group, bench());
    });

    it('the record is complete, and nothing differs that no way touched', () => {
      const { manifest, isComplete, verdict, output } = recorded;
      expect(manifest.exitStatus, output).to.equal(0);
      expect(isComplete).to.equal(true);
      expect(verdict.replay.gaps).to.deep.equal([]);
      expect(differences(recorded, group.ways, undefined)).to.deep.equal([]);
      const isTainted = group.ways.some((way) => way.taint !== undefined);
      expect(verdict.replay.taintCount > 0n, JSON.stringify(verdict.replay.taints.map((t) => t.text))).to.equal(
        isTainted,
      );
    });

    const tainted = group.ways.find((way) => way.taint !== undefined);
    if (tainted !== undefined) {
      it('verify names the taint', async () => {
        const argv = [
          path.join(ROOT, 'lemona'),
          'verify',
          'r',
          '--runs',
          bench().folder,
          '--at',
          `mark:${tainted.name}`,
        ];
        const child = await Child.spawn({ label: 'verify', argv: argv as [string, ...string[]], stdout: 'ignore' });
        // 1: it differs.
        expect((await child.exited).code).to.be.oneOf(tainted.mayDiffer === true ? [0, 1] : [0]);
        const texts = [...child.outputTail().matchAll(/not described by effects: seq \d+: (.*): a rebuild/g)];
        expect(
          texts.some(([, text = '']) => tainted.taint?.test(text)),
          child.outputTail(),
        ).to.equal(true);
      });
    }

    for (const way of group.ways) {
      it(way.arg === undefined ? way.name : `${way.name} ${way.arg}`, () => {
        expect(problemsOf(way, group, recorded), `LEMONA_SEED=${testSeed()}`).to.deep.equal([]);
      });
    }
  });
}

// SPDX-License-Identifier: MIT
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { isSound } from '../../lab/cli/verbs/stats.js';
import { replayVm } from '../../lab/parts/parts.js';
import { openRun, runFolderAt } from '../../lab/run/folder.js';
import { readManifest } from '../../lab/run/manifest.js';
import { exportTruth } from '../../lab/run/truth.js';
import { eventsOf } from '../../lab/trace/events.js';
import { statsOf } from '../../lab/trace/stats.js';
import { LabError } from '../../lab/util/errors.js';
import { reconstruct } from '../../replay/reconstruct.js';
import { verifyImages } from '../../replay/verify.js';
import { accountOf, describeVerdict, qemusOf, testSeed, useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';
import { sh } from '../harness/sh.js';

/** Names, contents, attributes and deletions, with a mark now and then; busybox is enough. */
const WORKLOAD = `
set -e
mkdir -p /root/w && cd /root/w
i=0
while [ $i -lt 120 ]; do
  echo "line $i" > f$i
  echo more >> f$i
  [ $((i % 3)) -ne 0 ] || mv f$i g$i
  [ $((i % 5)) -ne 0 ] || { rm -f f$i g$i; }
  [ $((i % 7)) -ne 0 ] || { mkdir -p d$i/sub; ln -s ../f$i d$i/link; [ ! -e f$i ] || ln f$i d$i/hard; }
  [ $((i % 11)) -ne 0 ] || { chmod 4711 f$((i - 1)) 2>/dev/null || true; }
  [ $((i % 13)) -ne 0 ] || { chown 1000:1000 f$((i - 2)) 2>/dev/null || true; }
  [ $((i % 10)) -ne 9 ] || lemona-mark m$i
  i=$((i + 1))
done
dd if=/dev/urandom of=big bs=64k count=20 2>/dev/null
dd if=/dev/zero of=big bs=1000 count=7 seek=11 conv=notrunc 2>/dev/null
rm -r d7
`;

/** Numbers of effects on an inode right before the effect that creates it. */
async function effectsBeforeBirths(runDir: string): Promise<bigint[]> {
  const found: bigint[] = [];
  let before: { readonly seq: bigint; readonly ino: bigint; readonly gen: number } | undefined;
  for await (const { record } of eventsOf(runDir, {})) {
    if (record.kind !== 'effect') continue;
    const { effect } = record;
    const isBirth = /^(CREATE|MKNOD|MKDIR|SYMLINK|TMPFILE)$/.test(effect.op);
    if (isBirth && before?.ino === effect.ino && before.gen === effect.gen && before.seq + 1n === effect.seq)
      found.push(before.seq);
    before = effect;
  }
  return found;
}

const code = (error: unknown) => (error instanceof LabError ? error.code : String(error));

describe('a recorded run', () => {
  const bench = useBench();

  it('boots, runs its command, and is complete with nothing lost', async () => {
    const { manifest, output, exitStatus } = await bench().record('r', 'echo "hello from $(uname -r)"; exit 7');
    expect(output).to.include(`hello from ${manifest.kernel.release}`);
    expect(exitStatus).to.equal(7);
    expect(manifest.state).to.equal('complete');
    expect(manifest.marks.map((mark) => mark.label)).to.deep.equal(['end']);
    const account = await accountOf(bench().runDir('r'));
    expect(account.isComplete).to.equal(true);
    expect(account.issued).to.equal(account.recorded + account.dropped);
    expect(account.seqFirst).to.equal(1n);
    expect(account.effects).to.equal(account.seqLast);
  });

  it('is rebuilt exactly at every mark of a shell workload on two CPUs', async () => {
    const { manifest } = await bench().record('r', WORKLOAD, { smp: 2 });
    expect(manifest.exitStatus).to.equal(0);
    expect(manifest.marks.length).to.be.at.least(12);
    const result = await bench().verify('r');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
    expect(result.marks).to.have.length(manifest.marks.length);
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
  });

  it('is rebuilt exactly when several processes store into one mapped file', async () => {
    const seed = testSeed();
    const program = await guestProgram('mmap-writers', bench().folder);
    const script = `chmod +x /root/mmap-writers; /root/mmap-writers /root/shared ${seed} 4 12`;
    const copyIn = [{ source: program, destination: '/root/mmap-writers' }];
    const { manifest, output } = await bench().record('r', script, { smp: 2, copyIn });
    expect(manifest.exitStatus, `seed ${seed}: ${output}`).to.equal(0);
    expect(manifest.marks.length).to.be.at.least(10);
    const result = await bench().verify('r');
    expect(describeVerdict(result), `LEMONA_SEED=${seed}`).to.equal('');
    expect(result.isEqual).to.equal(true);
  });

  it('has of a mapped page that is stored to the changed bytes alone', async () => {
    const [stores, program] = [400, await guestProgram('small-stores', bench().folder)];
    const { manifest, output } = await bench().record(
      'r',
      `chmod +x /root/small-stores; /root/small-stores /root/f ${stores}`,
      { copyIn: [{ source: program, destination: '/root/small-stores' }] },
    );
    expect(manifest.exitStatus, output).to.equal(0);
    const sizes: number[] = [];
    for await (const { record } of eventsOf(bench().runDir('r'), { kinds: new Set(['effect']) })) {
      if (record.kind === 'effect' && record.effect.op === 'PAGE') sizes.push(record.effect.data.length);
    }
    expect(sizes.length).to.be.at.least(stores / 2);
    expect(sizes.reduce((sum, size) => sum + size, 0) / sizes.length).to.be.below(64);
    expect((await bench().verify('r')).isEqual).to.equal(true);
  });

  it('can be rebuilt at numbers between marks, backwards and forwards, and the marks stay exact', async () => {
    await bench().record('r', WORKLOAD, { smp: 2 });
    const runDir = bench().runDir('r');
    const { ctx } = bench();
    const run = await openRun(runDir);
    const vm = await replayVm(runDir, ctx);
    const rebuild = (at: string, name: string) =>
      reconstruct({ runDir, at, output: path.join(bench().folder, name), format: 'raw', vm: async () => vm }, ctx);
    const mark = run.manifest.marks[4];
    if (mark === undefined) throw new Error('the workload made no fifth mark');
    const seq = BigInt(mark.seq);
    const later = await rebuild(`seq:${seq + 40n}`, 'later.raw');
    const earlier = await rebuild(`seq:${seq - 40n}`, 'earlier.raw');
    expect([later.seq, earlier.seq]).to.deep.equal([seq + 40n, seq - 40n]);
    expect(later.isVouchedFor && earlier.isVouchedFor).to.equal(true);
    for (const name of ['later.raw', 'earlier.raw']) {
      await sh`e2fsck -fn ${path.join(bench().folder, name)}`;
    }
    const exact = await rebuild(`seq:${seq}`, 'exact.raw');
    const truth = path.join(bench().folder, 'truth.raw');
    await exportTruth(run, `mark:${mark.label}`, truth, ctx);
    const verdict = await verifyImages(exact.output, truth, ctx);
    expect(verdict.first).to.deep.equal([]);
    // The comparison must be able to fail.
    const wrong = await verifyImages(later.output, truth, ctx);
    expect(wrong.isEqual).to.equal(false);
  });

  it('can be rebuilt between what is set in the course of a birth and that birth', async () => {
    const program = await guestProgram('files', bench().folder);
    const { manifest, output } = await bench().record(
      'r',
      'chmod +x /root/files; mkdir /root/acls; cd /root/acls; /root/files acls',
      { copyIn: [{ source: program, destination: '/root/files' }] },
    );
    expect(manifest.exitStatus, output).to.equal(0);
    const { ctx, folder } = bench();
    const runDir = bench().runDir('r');
    // An ACL that is inherited is set before the birth has its number.
    const early = await effectsBeforeBirths(runDir);
    expect(early.length).to.be.greaterThan(2);
    const vm = await replayVm(runDir, ctx);
    for (const seq of [early[0] ?? 0n, early[early.length >> 1] ?? 0n, early.at(-1) ?? 0n]) {
      const at = `seq:${seq}`;
      const options = {
        runDir,
        at,
        output: path.join(folder, 'early.raw'),
        format: 'raw',
        vm: async () => vm,
      } as const;
      const { isVouchedFor, effects } = await reconstruct(options, ctx);
      expect(isVouchedFor, at).to.equal(true);
      expect(effects <= seq, `${at}: ${effects} effects, what waited counted once`).to.equal(true);
    }
  });

  it('keeps all that arrived when QEMU is killed, and can be rebuilt to its last event', async () => {
    const seed = testSeed();
    const delayMs = seed % 3000;
    const { folder } = bench();
    const { manifestFile } = runFolderAt(bench().runDir('r'));
    const error = await bench()
      .record(
        'r',
        'lemona-mark begun; cd /root; i=0; while true; do echo $i > f$((i % 50)); i=$((i + 1)); rm -f f$((i % 7)); done',
        {
          onMachine: () => {
            // However slow the machine is: while the work goes on.
            void (async () => {
              while (((await readManifest(manifestFile))?.marks ?? []).length === 0) await setTimeout(100);
              await setTimeout(delayMs);
              for (const pid of await qemusOf(folder)) process.kill(pid, 'SIGKILL');
            })();
          },
        },
      )
      .catch((thrown: unknown) => thrown);
    expect(code(error), `killed after ${delayMs} ms`).to.equal('LAB_RUN_TORN');
    const runDir = bench().runDir('r');
    expect((await openRun(runDir)).manifest.state).to.equal('torn');
    const stats = await statsOf(runDir);
    expect(stats.account.effects > 0n).to.equal(true);
    expect(await auditRun(runDir)).to.deep.include({ isClosed: true, findings: [] });
    const vm = await replayVm(runDir, bench().ctx);
    const output = path.join(bench().folder, 'last.raw');
    // What other CPUs had not sent yet leaves gaps near the end, which are reported.
    const result = await reconstruct(
      { runDir, at: 'end', output, format: 'raw', vm: async () => vm, goOn: true },
      bench().ctx,
    );
    expect(result.seq).to.equal(stats.account.seqLast);
    await sh`e2fsck -fn ${output}`;
  });

  it('works with the driver as a module, from a live checkpoint', async () => {
    const { manifest } = await bench().record('r', WORKLOAD, { smp: 2, config: 'module-relay' });
    expect(manifest.state).to.equal('complete');
    expect(manifest.checkpoints[0]?.snapshot).to.be.a('string');
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
    const result = await bench().verify('r');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
  });

  it('ends its command at the timeout with status 124', async () => {
    const { exitStatus, timedOut, manifest } = await bench().record('r', 'sleep 600', { timeoutMs: 2000 });
    expect([exitStatus, timedOut, manifest.state]).to.deep.equal([124, true, 'complete']);
  });
});

describe('bad input', () => {
  const bench = useBench();

  it('is named: unknown instants, marks, numbers and runs; cut, broken and foreign segments; a changed image', async () => {
    await bench().record('r', 'echo a > /root/a; lemona-mark one; echo b > /root/b');
    const runDir = bench().runDir('r');
    const { ctx } = bench();
    const vm = await replayVm(runDir, ctx);
    const output = path.join(bench().folder, 'out.raw');
    const at = (instant: string, dir = runDir) =>
      reconstruct({ runDir: dir, at: instant, output, format: 'raw', vm: async () => vm }, ctx).then(
        () => 'rebuilt',
        (error: unknown) => code(error),
      );
    expect(await at('yesterday')).to.equal('LAB_USAGE');
    expect(await at('mark:two')).to.equal('LAB_INSTANT_UNKNOWN');
    expect(await at('seq:99999999')).to.equal('LAB_INSTANT_UNKNOWN');
    expect(await at('end', path.join(bench().folder, 'nope'))).to.equal('LAB_RUN_UNKNOWN');
    expect(await stat(output).catch(() => 'absent')).to.equal('absent');

    const segment = path.join(runDir, 'segments/000000.seg');
    const good = await readFile(segment);
    const flipped = Buffer.from(good);
    const middle = Math.floor(good.length / 2);
    flipped[middle] = (flipped[middle] ?? 0) ^ 0x10;
    await writeFile(segment, flipped);
    const broken = await statsOf(runDir);
    expect(broken.problems.length).to.be.at.least(1);
    expect(isSound(broken)).to.equal(false);

    await writeFile(segment, good.subarray(0, middle));
    const cut = await statsOf(runDir);
    expect(cut.problems.length + cut.account.gaps.length).to.be.at.least(1);

    await writeFile(segment, 'this is no segment of ours, but somebody put it here under its name\n'.repeat(10));
    const foreign = await statsOf(runDir).then(
      (stats) => stats.problems.map((problem) => problem.kind).join(),
      (error: unknown) => code(error),
    );
    expect(foreign).to.not.equal('');
    await writeFile(segment, good);
    expect((await statsOf(runDir)).account.isComplete).to.equal(true);

    const manifestFile = path.join(runDir, 'run.json');
    const manifest = await readFile(manifestFile, 'utf8');
    await writeFile(manifestFile, manifest.replace(/("name": "start",[^}]*"sha256": ")[0-9a-f]{8}/, '$100000000'));
    expect(await at('end')).to.equal('LAB_CHECKPOINT_DIGEST');
    await writeFile(manifestFile, manifest);
    expect(await at('end')).to.equal('rebuilt');
    await rm(output);
  });
});

// SPDX-License-Identifier: MIT
/** A session says at each instant what of it is in doubt, and has its run's keyframes for itself. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { ROOT } from '../../lab/cli/invocation.js';
import { replayVm } from '../../lab/parts/parts.js';
import { keyframeFolder } from '../../replay/keyframes.js';
import { planEffects } from '../../replay/plan.js';
import { reconstruct } from '../../replay/reconstruct.js';
import { type Reached, ReplaySession } from '../../replay/session.js';
import type { Shortfalls } from '../../replay/shortfalls.js';
import { openSource, rootDevOf } from '../../replay/source.js';
import { useBench } from '../harness/boot.js';
import { taintsOf } from '../harness/taints.js';
import { alterEffects, makeNop } from '../support/alter-effects.js';
import { failureOf } from '../support/failure.js';
import { loseEffects } from '../support/lose-effects.js';
import { collect } from '../support/run-builder.js';

/** So that a saved VM lies between one doubt and the next. */
const SPACING = { effects: 4, bytes: 1_000_000_000 };

/** A block of the disk is written past the file system, with what it holds. */
const SCRIPT = `cd /root
for i in 1 2 3 4 5 6; do echo $i > before$i; done
dd if=/dev/vda of=/tmp/block bs=4096 skip=9000 count=1 2>/dev/null
dd if=/tmp/block of=/dev/vda bs=4096 seek=9000 count=1 conv=notrunc,fsync 2>/dev/null
for i in 1 2 3 4 5 6; do echo $i > between$i; done
echo lost > lost
for i in 1 2 3 4 5 6; do echo $i > after$i; done`;

const brief = ({ taintCount, gaps, isCutOff, isVouchedFor }: Reached) => ({
  taints: taintCount,
  gaps: gaps.length,
  isCutOff,
  isVouchedFor,
});

describe('step', () => {
  const bench = useBench();

  it('says at each instant what is in doubt by then, and keeps others away', async () => {
    const { ctx, folder } = bench();
    const { manifest, output } = await bench().record('r', SCRIPT);
    expect(manifest.exitStatus, output).to.equal(0);
    const runDir = bench().runDir('r');
    const [taint, ...others] = await taintsOf(runDir);
    expect(others).to.deep.equal([]);
    const [lost] = await loseEffects(
      runDir,
      (effect) => effect.op === 'WRITE' && Buffer.from(effect.data).toString() === 'lost\n',
    );
    const at = { taint: taint?.seq ?? 0n, lost: lost?.seq ?? 0n };
    expect(at.lost > at.taint && at.taint > 0n).to.equal(true);
    const manifestFile = path.join(runDir, 'run.json');
    const run = JSON.parse(await readFile(manifestFile, 'utf8'));
    const change = (changed: object) => writeFile(manifestFile, JSON.stringify({ ...run, ...changed }));
    const trace = (bytes: number) => change({ trace: { ...run.trace, bytes } });
    await trace(0);

    const vm = await replayVm(runDir, ctx);
    const options = { runDir, vm, spacing: SPACING };
    const clean = { taints: 0n, gaps: 0, isCutOff: false, isVouchedFor: true };
    const tainted = { ...clean, taints: 1n, isVouchedFor: false };
    const lossy = { ...tainted, gaps: 1 };
    const image = path.join(folder, 'here.qcow2');

    const first = await ReplaySession.open(options, ctx);
    try {
      const other = await failureOf(ReplaySession.open(options, ctx));
      expect([other.code, other.message]).to.deep.equal([
        'LAB_RUN_STATE',
        `process ${process.pid} uses the keyframes in ${keyframeFolder(runDir).folder}`,
      ]);
      const end = await first.resolve('end');
      expect(brief(await first.goto(end))).to.deep.equal(lossy);
      for (const [seq, wanted] of [
        [at.taint - 1n, clean],
        [at.taint, tainted],
        [at.lost - 1n, tainted],
        [at.lost, lossy],
      ] as const)
        expect(brief(await first.goto(seq)), `${seq}`).to.deep.equal(wanted);
    } finally {
      await first.close();
    }

    await trace(1_000_000_000);
    const second = await ReplaySession.open(options, ctx);
    try {
      // Of saved VMs alone: nothing is applied.
      const saved = second.keyframes.map(({ seq }) => seq);
      const places = [saved.findLast((seq) => seq < at.taint), saved.findLast((seq) => seq < at.lost), saved.at(-1)];
      const seen: ReturnType<typeof brief>[] = [];
      for (const seq of places) {
        const reached = await second.goto(seq ?? -1n);
        expect(reached.applied).to.equal(0);
        seen.push(brief(reached));
      }
      expect(seen).to.deep.equal([clean, tainted, lossy]);
      const { unvouched, taints, gaps } = await second.export(image, 'qcow2');
      expect(unvouched.map((one) => one.path)).to.deep.equal(['/root/lost']);
      const straight = await reconstruct(
        {
          runDir,
          at: `seq:${second.position}`,
          output: path.join(folder, 'straight.raw'),
          format: 'raw',
          vm: async () => vm,
        },
        ctx,
      );
      expect({ unvouched, taints, gaps }).to.deep.equal({
        unvouched: straight.unvouched,
        taints: straight.taints,
        gaps: straight.gaps,
      });
      expect(brief(await second.step(1_000_000_000))).to.deep.equal({ ...lossy, isCutOff: true });
    } finally {
      await second.close();
    }

    const checkpoints = run.checkpoints.map((one: object) => ({ ...one, sha256: 'f'.repeat(64) }));
    await change({ checkpoints });
    expect((await failureOf(ReplaySession.open(options, ctx))).code).to.equal('LAB_CHECKPOINT_DIGEST');
    expect(await readdir(keyframeFolder(runDir).folder))
      .to.include('keyframes.json')
      .and.to.not.include('lock');
  });

  it('vouches for as much behind losses as a rebuild does, from a keyframe that was saved right there', async () => {
    const { ctx, folder } = bench();
    await bench().record('r', 'cd /root; echo lost > one; echo kept > two; echo lost > three; echo kept > four');
    const runDir = bench().runDir('r');
    const gone = await loseEffects(runDir, (effect) => effect.op === 'WRITE' && effect.data.toString() === 'lost\n');
    expect(gone.length).to.equal(2);
    const lost = gone[1]?.seq ?? 0n;
    const source = await openSource(runDir, ctx.signal);
    const { checkpointSeq: after, index } = source;
    const dev = await rootDevOf(source, ctx.signal);
    const plan = await collect(planEffects(runDir, index, { after, to: lost - 1n, dev }));
    await index.close();
    const before = plan.findLast((item) => item.type === 'effect')?.seq ?? 0n;

    const vm = await replayVm(runDir, ctx);
    // One is due once the last effect before the second loss was applied.
    const options = { runDir, vm, spacing: { ...SPACING, effects: Number(before - after) } };
    const first = await ReplaySession.open(options, ctx);
    try {
      await first.goto(lost + 2n);
      expect(first.keyframes.map(({ seq }) => seq)).to.deep.equal([after, lost]);
    } finally {
      await first.close();
    }
    const second = await ReplaySession.open(options, ctx);
    try {
      for (const [seq, paths] of [
        [lost, ['/root/one', '/root/three']],
        [before, ['/root/one']],
      ] as const) {
        const { loaded } = await second.goto(seq);
        expect(loaded).to.equal(seq === lost ? lost : after);
        const here = await second.export(path.join(folder, 'here.qcow2'), 'qcow2');
        const output = path.join(folder, 'straight.raw');
        const straight = await reconstruct(
          { runDir, at: `seq:${seq}`, output, format: 'raw', vm: async () => vm },
          ctx,
        );
        expect(here.unvouched.map((one) => one.path)).to.deep.equal(paths);
        expect([here.unvouched, here.gaps, here.mismatches]).to.deep.equal([
          ...[straight.unvouched, straight.gaps, straight.mismatches],
        ]);
      }
    } finally {
      await second.close();
    }
  });

  it('waits for a birth that is not in the record until the next mark, and says there that it does not come', async () => {
    const { ctx, folder } = bench();
    // More than the agent keeps in memory: the rest lies on the disk until then.
    const script =
      'cd /root; dd if=/dev/zero of=born bs=1M count=80 && mv born moved; lemona-mark m; echo c > last; echo d > last';
    const { manifest, output: said } = await bench().record('r', script);
    expect(manifest.exitStatus, said).to.equal(0);
    expect(manifest.trace.bytes, said).to.be.above(80 * 2 ** 20);
    const runDir = bench().runDir('r');
    const born = await alterEffects(
      runDir,
      (effect) => effect.op === 'CREATE' && effect.name.toString() === 'born',
      makeNop,
    );
    expect(born.length).to.equal(1);
    const mark = BigInt(manifest.marks.find(({ label }) => label === 'm')?.seq ?? 0);
    const vm = await replayVm(runDir, ctx);
    const found = ({ waiting, mismatches, isVouchedFor }: Shortfalls) => ({
      waits: waiting?.op,
      first: mismatches[0]?.what,
      isVouchedFor,
    });
    const givenUp = { waits: undefined, first: 'birth', isVouchedFor: false };
    const waits = { waits: 'RENAME', first: undefined, isVouchedFor: false };
    const session = await ReplaySession.open({ runDir, vm }, ctx);
    try {
      expect(found(await session.goto(mark - 1n))).to.deep.equal(waits);
      expect(found(await session.goto(mark))).to.deep.equal(givenUp);
      expect(found(await session.goto(mark + 2n))).to.deep.equal(givenUp);
    } finally {
      await session.close();
    }
    const straight = async (seq: bigint) => {
      const output = path.join(folder, 'straight.raw');
      const options = { runDir, at: `seq:${seq}`, output, format: 'raw', vm: async () => vm, goOn: true } as const;
      return found(await reconstruct(options, ctx));
    };
    expect(await straight(mark - 1n)).to.deep.equal(waits);
    expect(await straight(mark + 2n)).to.deep.equal(givenUp);
  });

  it('warns of an image as a rebuild does, whatever it is called', async () => {
    const { folder } = bench();
    await bench().record('r', 'echo kept > /root/kept; echo lost > /root/lost');
    await loseEffects(bench().runDir('r'), (effect) => effect.op === 'WRITE' && effect.data.toString() === 'lost\n');
    const manifestFile = path.join(bench().runDir('r'), 'run.json');
    const run = JSON.parse(await readFile(manifestFile, 'utf8'));
    await writeFile(manifestFile, JSON.stringify({ ...run, trace: { ...run.trace, bytes: 1_000_000_000 } }));
    const child = spawn(path.join(ROOT, 'lemona'), ['step', 'r', '--runs', folder], { cwd: folder });
    child.stdin.end('goto end\nexport 12:30?.raw\n');
    const [said, warned, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    expect(status, warned).to.equal(1);
    expect(said).to.match(/^seq \d+: .* not vouched for: effects (\d+) to \1 are missing.*: export names all of it$/m);
    expect(warned.match(/the rest was cut off or damaged/g), 'at its begin, and of the image').to.have.length(2);
    expect(warned).to.contain('not vouched for: /root/lost: bytes 0 to 4');
    expect((await stat(path.join(folder, '12:30?.raw'))).size).to.be.greaterThan(0);
  });

  it('goes on behind a mistyped path when somebody types, and ends there when a file is read', async () => {
    const { folder } = bench();
    await bench().record('r', 'echo kept > /root/kept');
    const step = `'${path.join(ROOT, 'lemona')}' step r --runs .`;
    const typed = 'goto end\nexport no/such/here.raw\nexport r\nwhere\nexport here.raw\nquit\n';
    // `script` gives it a terminal.
    const [status, said] = await ended(spawn('script', ['-qec', step, '/dev/null'], { cwd: folder }), typed);
    expect(status, said).to.equal(0);
    for (const what of [
      /LAB_USAGE: \S+no\/such\/here\.raw: no file can be made there/,
      /LAB_USAGE: \S+\/r is there, and is no/,
    ])
      expect(said).to.match(what);
    expect(said.match(/^seq \d+: 0 effects applied/gm), said).to.have.length(1);
    expect((await stat(path.join(folder, 'here.raw'))).size).to.be.greaterThan(0);
    const [read, wrong] = await ended(spawn('sh', ['-c', step], { cwd: folder }), typed);
    expect([read, /seq \d+: 0 effects/.test(wrong)], wrong).to.deep.equal([2, false]);
  });
});

/** The status of a program that is given this to read, and all that it said. */
async function ended(child: ChildProcessWithoutNullStreams, input: string): Promise<[number, string]> {
  child.stdin.end(input);
  const [said, errors, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return [status as number, said + errors];
}

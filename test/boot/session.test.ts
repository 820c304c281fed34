// SPDX-License-Identifier: MIT
/** A session reaches any instant quickly, and what it reaches is what a straight rebuild gives. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { MANY_EFFECTS } from '../../lab/bench/replay.js';
import { ROOT } from '../../lab/cli/invocation.js';
import { replayVm } from '../../lab/parts/parts.js';
import { keyframeFolder } from '../../replay/keyframes.js';
import { reconstruct } from '../../replay/reconstruct.js';
import { type Reached, ReplaySession } from '../../replay/session.js';
import { verifyImages } from '../../replay/verify.js';
import { qemusOf, useBench } from '../harness/boot.js';
import { sh } from '../harness/sh.js';

const ROUNDS = 6000;
/** A third of what a large run has, as the run here is short. */
const SPACING = { effects: 4000, bytes: 16_000_000 };

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

describe('a session', () => {
  const bench = useBench();

  it('goes back and forth, each time near and exact, and another one finds its keyframes', async () => {
    const { ctx, folder } = bench();
    const program = path.join(folder, 'many-effects');
    await sh`gcc -static -O1 -o ${program} ${MANY_EFFECTS}`;
    await bench().record('r', `chmod +x /root/many-effects; /root/many-effects /root/w 1 ${ROUNDS}`, {
      copyIn: [{ source: program, destination: '/root/many-effects' }],
    });
    const runDir = bench().runDir('r');
    const vm = await replayVm(runDir, ctx);
    const reached = path.join(folder, 'reached.raw');
    const straight = path.join(folder, 'straight.raw');
    const checkHere = async (session: ReplaySession) => {
      await session.export(reached, 'raw');
      const at = `seq:${session.position}`;
      await reconstruct({ runDir, at, output: straight, format: 'raw', vm: async () => vm }, ctx);
      const verdict = await verifyImages(reached, straight, ctx);
      expect(verdict.first, at).to.deep.equal([]);
    };
    const steps: Reached[] = [];
    const jumps: Reached[] = [];

    const first = await ReplaySession.open({ runDir, vm, spacing: SPACING }, ctx);
    let straightSeconds: number;
    let last: bigint;
    try {
      const whole = await first.goto(await first.resolve('end'));
      straightSeconds = whole.seconds;
      last = whole.seq;
      expect(first.keyframes.length).to.be.at.least(Math.floor(whole.applied / SPACING.effects));
      await checkHere(first);
      for (const part of [5n, 3n, 4n]) jumps.push(await first.goto((last * part) / 7n));
      await checkHere(first);
      for (const count of [1, -1, -1, 1, -3]) steps.push(await first.step(count));
      await checkHere(first);
      expect((await first.step(-1_000_000_000)).seq).to.equal(first.source.checkpointSeq);
    } finally {
      await first.close();
    }
    expect(await qemusOf(folder)).to.deep.equal([]);

    // As if it had been ended after the last was saved, and before that was noted.
    const list = path.join(keyframeFolder(runDir).folder, 'keyframes.json');
    const noted = JSON.parse(await readFile(list, 'utf8')) as { keyframes: unknown[] };
    await writeFile(list, JSON.stringify({ ...noted, keyframes: noted.keyframes.slice(0, -1) }));
    const second = await ReplaySession.open({ runDir, vm, spacing: SPACING }, ctx);
    try {
      expect(second.keyframes.length).to.equal(first.keyframes.length - 1);
      await second.goto(last);
      expect(second.keyframes.length).to.equal(first.keyframes.length);
      for (const part of [6n, 2n, 1n]) jumps.push(await second.goto((last * part) / 7n));
      await checkHere(second);
    } finally {
      await second.close();
    }

    for (const { applied } of [...jumps, ...steps]) expect(applied).to.be.at.most(SPACING.effects);
    const figures = {
      jump: median(jumps.map(({ seconds }) => seconds)),
      step: median(steps.map(({ seconds }) => seconds)),
    };
    process.stderr.write(
      `    jump ${figures.jump.toFixed(2)} s, step ${figures.step.toFixed(2)} s; all of it ${straightSeconds.toFixed(2)} s\n`,
    );
    expect(figures.jump).to.be.at.most(2);
    expect(figures.step).to.be.at.most(1);
  });

  it('ends at Ctrl-C with nothing left behind but its keyframes', async () => {
    const { folder } = bench();
    await bench().record('r', 'cd /root; i=0; while [ $i -lt 50 ]; do echo $i > f$i; i=$((i + 1)); done');
    const runDir = bench().runDir('r');
    await replayVm(runDir, bench().ctx);
    const child = spawn(path.join(ROOT, 'lemona'), ['step', 'r', '--runs', folder, '--json', '--quiet'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    child.stdin.write('goto end\n');
    await once(child.stdout, 'data');
    expect(await qemusOf(folder)).to.have.length(1);
    process.kill(-(child.pid ?? 0), 'SIGINT');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code).to.equal(130);
    expect(await qemusOf(folder)).to.deep.equal([]);
    expect((await readdir(keyframeFolder(runDir).folder)).sort()).to.deep.equal([
      ...['console.log', 'disk.qcow2', 'keyframes.json', 'plan.ring', 'qemu.argv', 'qmp.jsonl', 'reproduce.sh'],
    ]);
  });
});

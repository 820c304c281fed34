// SPDX-License-Identifier: MIT
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { runTool } from '../../lab/proc/tool.js';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { describeDivergence } from '../harness/divergence.js';

const SOURCES = path.join(import.meta.dirname, 'guest/exerciser');
/** Of two threads each. */
const PROCESSES = 6;
/** Of each thread. */
const STEPS = 300;
/** The acceptance has 200. A given seed is run once. */
const SEEDS = process.env.LEMONA_SEED === undefined ? Number(process.env.LEMONA_SEEDS ?? 3) : 1;
/** Steps to leave out, as `,mapped,chattr,`: helps to find out which one a failing seed needs. */
const WITHOUT = process.env.LEMONA_WITHOUT ?? '';

/** Marks at instants that nobody planned; immutable files must not be in the way of the next run. */
const script = (seed: number) => `
chmod +x /root/exerciser
( n=0; while [ ! -e /run/stop ]; do lemona-mark m$n || exit 99; n=$((n + 1)); sleep 0.$((n % 5 + 3)); done ) &
/root/exerciser /root/play ${PROCESSES} ${STEPS} ${seed} ${WITHOUT}
status=$?
touch /run/stop
wait
exit $status
`;

async function compile(program: string): Promise<void> {
  const sources = (await readdir(SOURCES))
    .filter((name) => name.endsWith('.c'))
    .map((name) => path.join(SOURCES, name));
  await runTool(['gcc', '-static', '-O1', '-std=gnu11', '-pthread', '-Wall', '-Wextra', '-o', program, ...sources]);
}

describe('a filesystem exerciser that races on four CPUs', () => {
  const bench = useBench();

  for (let round = 0; round < SEEDS; round++) {
    // One title for all of them: with its seed, it is what reproduces a failure.
    it('is rebuilt exactly at every mark', async () => {
      const seed = testSeed();
      const program = path.join(bench().folder, 'exerciser');
      await compile(program);
      const copyIn = [{ source: program, destination: '/root/exerciser' }];
      const { manifest, output } = await bench().record('r', script(seed), { smp: 4, copyIn });
      expect(manifest.exitStatus, output).to.equal(0);
      expect(manifest.marks.length).to.be.at.least(4);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r', { strict: true });
      if (!result.isEqual)
        process.stderr.write(`${await describeDivergence(bench().runDir('r'), result, bench().ctx)}\n`);
      expect(describeVerdict(result)).to.equal('');
      expect(result.isEqual).to.equal(true);
      expect(result.replay.taints.map(({ text }) => text)).to.deep.equal([]);
    });
  }
});

// SPDX-License-Identifier: MIT
import path from 'node:path';
import { expect } from 'chai';
import { runTool } from '../../lab/proc/tool.js';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';

/** Six processes race on the same names while marks are taken at instants that nobody planned. */
const script = (seed: number) => `
chmod +x /root/exerciser
( n=0; while [ ! -e /run/stop ]; do lemona-mark m$n || exit 99; n=$((n + 1)); sleep 0.$((n % 5 + 3)); done ) &
/root/exerciser /root/play 6 500 ${seed}
touch /run/stop
wait
`;

describe('a filesystem exerciser that races on four CPUs', () => {
  const bench = useBench();

  for (const round of [0, 1, 2]) {
    it(`is rebuilt exactly at every mark, round ${round}`, async () => {
      const seed = testSeed() + round;
      const program = path.join(bench().folder, 'exerciser');
      await runTool(['gcc', '-static', '-O1', '-o', program, path.join(import.meta.dirname, 'guest/exerciser.c')]);
      const copyIn = [{ source: program, destination: '/root/exerciser' }];
      const { manifest, output } = await bench().record('r', script(seed), { smp: 4, copyIn });
      expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
      expect(manifest.marks.length).to.be.at.least(5);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(describeVerdict(result), `LEMONA_SEED=${seed}`).to.equal('');
      expect(result.isEqual).to.equal(true);
    });
  }
});

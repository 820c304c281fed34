// SPDX-License-Identifier: MIT
/** All twelve configurations: what is recorded in each is complete, and the disk is rebuilt of it. */
import { expect } from 'chai';
import { CONFIG_NAMES, type ConfigName, RUN_CONFIGS } from '../../lab/run/configs.js';
import { useBench } from '../harness/boot.js';
import { problemsOf } from '../harness/problems.js';
import { demandWhole } from '../harness/whole.js';

const WORK = `
work() { mkdir /root/$1; for i in 1 2 3 4 5 6 7 8; do echo $1 $i > /root/$1/$i; mv /root/$1/$i /root/$1/n$i; done; }
work a & work b; wait`;

/** Where those are verified, with more work, that are not verified here. */
const ELSEWHERE: Partial<Record<ConfigName, string>> = {
  'module-relay': 'record.test.ts',
  'static-relay': 'record.test.ts',
  'static-socket-plain': 'backpressure.test.ts',
  'static-socket-encrypted': 'backpressure.test.ts',
};

describe('each configuration', () => {
  const bench = useBench();

  for (const config of CONFIG_NAMES.filter((name) => !(name in ELSEWHERE))) {
    const { flavour, records, relay, socket } = RUN_CONFIGS[config];

    if (!records) {
      it(`${config}: boots, and records nothing`, async () => {
        const { manifest } = await bench().record('r', 'test ! -e /dev/lemona', { config });
        expect([manifest.state, manifest.exitStatus]).to.deep.equal(['complete', 0]);
        expect([manifest.checkpoints, manifest.trace.subbufs]).to.deep.equal([[], 0]);
      });
      continue;
    }

    it(`${config}: the record is complete, and the disk is rebuilt of it`, async () => {
      const { manifest } = await bench().record('r', WORK, { config, smp: 2 });
      expect([manifest.state, manifest.exitStatus, problemsOf(manifest)]).to.deep.equal(['complete', 0, []]);
      // A module starts in a guest that runs.
      expect(manifest.checkpoints.map(({ snapshot }) => snapshot !== null)).to.deep.equal([flavour === 'm']);
      // What came by two ways was compared; a difference is a problem.
      if (relay && socket) expect(manifest.bothWays?.same).to.be.above(3);
      else expect(manifest.bothWays ?? null).to.equal(null);
      await demandWhole(bench(), 'r');
    });
  }
});

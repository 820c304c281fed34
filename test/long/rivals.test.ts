// SPDX-License-Identifier: MIT
/** Every recorder of the bench's table, at work in a guest: it sees a known number of calls, or says what it lost. */
import { expect } from 'chai';
import { buildPrograms, runCell } from '../../lab/bench/cell.js';
import { type BenchConfigName, TRACEABLE } from '../../lab/bench/configs.js';
import type { DoneCell } from '../../lab/bench/report-data.js';
import { RIVAL_NAMES } from '../../lab/bench/rivals.js';
import type { Workload } from '../../lab/bench/workload.js';
import { useBench } from '../harness/boot.js';

const ROUNDS = 500;

const WORKLOAD: Workload = {
  name: 'known',
  about: 'a call that is made a known number of times, then a helper that never rests',
  image: 'tiny',
  memoryMiB: 512,
  script: () => `micro null ${ROUNDS}\nmicro switch 10`,
};

describe('another recorder in the guest', () => {
  const bench = useBench();

  const measure = async (config: BenchConfigName): Promise<DoneCell> => {
    const { folder, ctx, runDir } = bench();
    await buildPrograms(folder, ctx);
    const one = { config, workload: WORKLOAD, lane: 'deterministic', repeat: 0, size: 'quick', verify: false } as const;
    const spec = { ...one, accelerator: 'tcg', runDir: runDir('cell') } as const;
    return runCell(spec, folder, ctx);
  };

  it(`is not there in ${TRACEABLE}`, async () => {
    const { rival, trace, spans } = await measure(TRACEABLE);
    expect([rival, trace]).to.deep.equal([null, null]);
    expect(spans.map(({ label }) => label)).to.deep.equal(['null', 'switch']);
  });

  for (const name of RIVAL_NAMES) {
    it(`${name} has every call, or says what it lost`, async () => {
      const { rival, spans } = await measure(name);
      expect(rival?.bytes).to.be.greaterThan(ROUNDS);
      expect((rival?.calls ?? 0) + (rival?.lost ?? 0)).to.be.at.least(ROUNDS);
      expect(spans.map(({ label }) => label)).to.deep.equal(['null', 'switch']);
    });
  }
});

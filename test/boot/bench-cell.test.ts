// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { buildPrograms, runCell } from '../../lab/bench/cell.js';
import type { Workload } from '../../lab/bench/workload.js';
import { useBench } from '../harness/boot.js';

const ROUNDS = 100;

const WORKLOAD: Workload = {
  name: 'talks',
  about: 'says something else, without an end of line, before it says how long it took',
  image: 'tiny',
  memoryMiB: 256,
  script: () => `printf 'no end of line' >&2\nsleep 0.5\nmicro null ${ROUNDS}`,
};

describe('a cell of the bench', () => {
  const bench = useBench();

  it('has every span, whatever else the work says', async () => {
    const { folder, ctx, runDir } = bench();
    await buildPrograms(folder, ctx);
    const one = { config: 'vanilla', workload: WORKLOAD, lane: 'deterministic', repeat: 0, size: 'quick' } as const;
    const { spans } = await runCell({ ...one, verify: false, runDir: runDir('cell') }, folder, ctx);
    expect(spans.map(({ label, units }) => [label, units])).to.deep.equal([['null', ROUNDS]]);
  });
});

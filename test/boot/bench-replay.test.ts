// SPDX-License-Identifier: MIT
import { readdir } from 'node:fs/promises';
import { expect } from 'chai';
import { benchReplay } from '../../lab/bench/replay.js';
import { qemusOf, useBench } from '../harness/boot.js';

describe('bench replay', () => {
  const bench = useBench();

  it('times the same work in all its ways, says so where one breaks, and leaves nothing behind', async () => {
    const rounds = 300;
    const { timings, effects } = await benchReplay({ rounds }, bench().ctx);
    expect(Number(effects)).to.be.at.least(rounds * 4);
    expect(timings.map(({ name }) => name)).to.deep.equal([
      'original',
      'our recording',
      'our rebuilding',
      "QEMU's recording",
      "QEMU's replay",
    ]);
    const base = timings[0]?.seconds ?? 0;
    for (const { name, seconds, ratio, broke } of timings) {
      if (broke !== null) {
        expect(name).to.match(/^QEMU/);
        expect(broke).to.not.equal('');
        continue;
      }
      expect(seconds, name).to.be.greaterThan(0);
      expect(ratio, name).to.be.closeTo((seconds ?? 0) / base, 1e-9);
    }
    expect(await readdir(bench().folder)).to.deep.equal([]);
    expect(await qemusOf(bench().folder)).to.deep.equal([]);
  });
});

// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { memoryMiBFor } from '../../replay/memory.js';

describe("a replay VM's memory", () => {
  it('holds the table of all inodes that effects can be about', () => {
    const tableMiB = (inodes: number) => (inodes * 200) / 2 ** 20;
    for (const inodes of [400_000, 1_000_000, 4_000_000]) {
      const memory = memoryMiBFor({ inodes, effects: 10_000_000n }, 256);
      expect(memory - tableMiB(inodes), `${inodes} inodes`).to.be.within(224, 320);
    }
  });

  it('is no more than a small disk or a short run needs', () => {
    expect(memoryMiBFor({ inodes: 65_536, effects: 10n ** 9n }, 256)).to.equal(256);
    expect(memoryMiBFor({ inodes: 4_000_000, effects: 30_000n }, 256)).to.equal(256);
    expect(memoryMiBFor({ inodes: 65_536, effects: 1n }, 512)).to.equal(512);
  });

  it('has a limit', () => {
    expect(memoryMiBFor({ inodes: 2 ** 32 - 1, effects: 10n ** 12n }, 256)).to.equal(4096);
  });
});

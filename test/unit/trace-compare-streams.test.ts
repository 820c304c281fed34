// SPDX-License-Identifier: MIT
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { compareStreams } from '../../lab/trace/compare-streams.js';
import { partOf } from '../../lab/trace/parts.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { writeSegments } from '../support/run-builder.js';
import { entry, subbuf } from '../support/trace-builder.js';

const numbered = (cpu: number, number: bigint, argument = 0) => subbuf([entry(1, [argument])], { cpu, number });
const RECORD = [numbered(0, 0n), numbered(1, 0n), numbered(0, 1n), numbered(1, 1n)];

async function compared(first: readonly Buffer[], second: readonly Buffer[], hasEnded = true) {
  const folder = await mkdtemp(join(tmpdir(), 'lemona-test-'));
  try {
    const [a, b] = [join(folder, 'relay'), join(folder, 'socket')];
    await writeSegments(a, first);
    await writeSegments(b, second);
    return await compareStreams(segmentsFolder(a), segmentsFolder(b), hasEnded);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('one record by two ways', () => {
  it('is the same in any order', async () => {
    const { same, afterEnd, differences } = await compared(RECORD, [...RECORD].reverse());
    expect({ same, afterEnd, differences }).to.deep.equal({ same: 4, afterEnd: 0, differences: [] });
  });

  it('may be parts of one category in the second, and those must be right', async () => {
    const parts = RECORD.map((whole) => partOf(whole, 'network'));
    expect(await compared(RECORD, parts)).to.deep.equal({ same: 4, afterEnd: 0, differences: [] });
    const [, ...rest] = parts;
    const wrong = partOf(numbered(0, 0n, 9), 'network');
    expect((await compared(RECORD, [wrong, ...rest])).differences[0]).to.match(/CPU 0 number 0: .* differs from/);
    const mixed = [...parts.slice(1), partOf(RECORD[0] ?? Buffer.alloc(0), 'disk')];
    expect((await compared(RECORD, mixed)).differences[0]).to.match(/parts of several categories/);
  });

  it('may be longer in the first, once the second was told that no more would come', async () => {
    const longer = [...RECORD, numbered(0, 2n)];
    expect(await compared(longer, RECORD)).to.deep.include({ same: 4, afterEnd: 1, differences: [] });
    expect((await compared(longer, RECORD, false)).differences).to.have.length(1);
  });

  it('differs by name: what is missing, what is altered, what is there twice', async () => {
    const [first, second, ...rest] = RECORD as [Buffer, Buffer, ...Buffer[]];
    const named = async (other: readonly Buffer[]) => (await compared(RECORD, other)).differences;
    expect((await named([second, ...rest]))[0]).to.match(/^CPU 0 number 0: in .* alone$/);
    expect((await named([numbered(0, 0n, 9), second, ...rest]))[0]).to.match(/CPU 0 number 0: .* differs from/);
    expect((await named([first, second, second, ...rest]))[0]).to.match(/CPU 1 number 0 is there twice/);
  });
});

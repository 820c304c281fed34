// SPDX-License-Identifier: MIT
/** What a run that lost nothing looks like. */
import path from 'node:path';
import { expect } from 'chai';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { accountOf, type Bench, describeVerdict } from './boot.js';

/** No sub-buffer is there twice. */
export async function demandOnce(runDir: string): Promise<void> {
  const seen = new Set<string>();
  for await (const item of readSegments(path.join(runDir, 'segments'))) {
    if (item.type === 'problem') throw new Error(`segment ${item.segment}: ${item.detail}`);
    const name = `${item.header.cpu}:${item.header.number}`;
    expect(seen.has(name), `${name} is doubled`).to.equal(false);
    seen.add(name);
  }
}

/** All of the record is there, each sub-buffer once, and the disk is rebuilt of it at every mark. */
export async function demandWhole(bench: Bench, name: string): Promise<void> {
  await demandOnce(bench.runDir(name));
  const { isComplete, missing, dropped, gaps } = await accountOf(bench.runDir(name));
  expect([isComplete, missing, dropped, gaps.length]).to.deep.equal([true, 0n, 0n, 0]);
  const result = await bench.verify(name);
  expect(describeVerdict(result)).to.equal('');
  expect(result.isEqual).to.equal(true);
}

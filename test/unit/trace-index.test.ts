// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BLOCK_BYTES, BlockStore } from '../../lab/trace/entry-list.js';
import { mergeEffects } from '../../lab/trace/merge.js';
import { indexRun, type RunIndex } from '../../lab/trace/run-index.js';
import { timeline } from '../../lab/trace/timeline.js';
import { resolveInstant } from '../../replay/instants.js';
import { memoryNow } from '../fuzz/memory.js';
import { type IdleRun, writeIdleRun } from '../support/idle-run.js';
import { collect } from '../support/run-builder.js';

async function withIdleRun<T>(run: IdleRun, use: (runDir: string) => Promise<T>): Promise<T> {
  const runDir = await mkdtemp(join(tmpdir(), 'lemona-test-'));
  try {
    await writeIdleRun(runDir, run);
    return await use(runDir);
  } finally {
    await rm(runDir, { recursive: true, force: true });
  }
}

/** What readers see of a run. */
async function seen(runDir: string, index: RunIndex): Promise<unknown> {
  const instant = (text: string) => resolveInstant(text, runDir, index, { runName: 'r', checkpointSeq: 0n, marks: [] });
  const effects = async (from: bigint) =>
    (await collect(mergeEffects(runDir, index, { from }))).map((item) => (item.type === 'effect' ? item.seq : item));
  return {
    all: await effects(1n),
    // From a block of its own, from the middle of one, from the last number on, and from beyond.
    some: [await effects(900n), await effects(1234n), await effects(1600n), await effects(1601n)],
    records: (await collect(timeline(runDir, index))).map((record) => [record.realNs, record.cpu, record.kind]),
    instants: [await instant('+0s'), await instant('+7.3s'), await instant('+40s'), await instant('+1000s')],
  };
}

describe('the index of a run', () => {
  const RUN: IdleRun = { cpus: 3, subbufs: 8000, effectEvery: 5 };

  it('is the same on disk as in memory, and leaves no file', async () => {
    await withIdleRun(RUN, async (runDir) => {
      const before = await readdir(runDir);
      const inMemory = await indexRun(runDir);
      const onDisk = await indexRun(runDir, { blocksInMemory: 1 });
      expect(await readdir(runDir)).to.deep.equal(before);
      const wanted = await seen(runDir, inMemory);
      expect(wanted).to.have.property('all').with.length(1600);
      expect(await seen(runDir, onDisk)).to.deep.equal(wanted);
      await inMemory.close();
      await onDisk.close();
    });
  });

  it('of a run that may not be written to is among the temporary files', async () => {
    // Not even root makes files there.
    const store = new BlockStore('/sys', 0);
    const block = Buffer.alloc(BLOCK_BYTES, 7);
    const place = await store.put(block);
    expect(place).to.equal(0);
    expect((await store.get(place)).equals(block)).to.equal(true);
    await store.close();
  });

  it('takes no memory that grows with the number of sub-buffers', async () => {
    const liveBytes = (subbufs: number) =>
      withIdleRun({ cpus: 4, subbufs, effectEvery: 50 }, async (runDir) => {
        const before = memoryNow().liveBytes;
        const index = await indexRun(runDir, { blocksInMemory: 4 });
        const grown = memoryNow().liveBytes - before;
        expect(index.totals.subbufs).to.equal(subbufs);
        await index.close();
        return grown;
      });
    await liveBytes(1000);
    const [short, long] = [await liveBytes(20_000), await liveBytes(60_000)];
    // Objects in an array took 284 bytes for each.
    expect((long - short) / 40_000).to.be.below(5);
  });
});

// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BLOCK_BYTES, BlockStore } from '../../lab/trace/entry-list.js';
import type { LostNote } from '../../lab/trace/lost.js';
import { mergeEffects } from '../../lab/trace/merge.js';
import { NoteList } from '../../lab/trace/note-list.js';
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
    const heapBytes = (subbufs: number) =>
      withIdleRun({ cpus: 4, subbufs, effectEvery: 50 }, async (runDir) => {
        const before = memoryNow().heapBytes;
        const index = await indexRun(runDir, { blocksInMemory: 1 });
        const grown = memoryNow().heapBytes - before;
        expect(index.totals.subbufs).to.equal(subbufs);
        await index.close();
        return grown;
      });
    await heapBytes(1000);
    const [short, long] = [await heapBytes(6000), await heapBytes(26_000)];
    // Objects in an array took 284 bytes for each.
    expect((long - short) / 20_000).to.be.below(20);
  });
});

describe('notes of lost effects', () => {
  const note = (i: number): LostNote => ({
    ...{ seqFirst: BigInt(i), seqLast: 2n ** 64n - 1n, ino: 2n ** 60n + BigInt(i), pos: BigInt(4096 * i), len: 4096n },
    ...{ gen: 0xffff_ffff, dev: 0xfe00, what: i % 64, effects: 1 },
  });

  it('come back as they were put, and are no objects', () => {
    const many = 20_000;
    const before = memoryNow().heapBytes;
    const notes = new NoteList();
    for (let i = 0; i < many; i++) notes.push(note(i));
    // Rows are no objects; those took more than 200 bytes.
    expect((memoryNow().heapBytes - before) / many).to.be.below(20);
    expect(notes.length).to.equal(many);
    for (const place of [0, 4095, 4096, many - 1]) expect(notes.at(place)).to.deep.equal(note(place));
    expect(notes.at(many)).to.equal(undefined);
    expect([...notes].every(({ seqFirst }, i) => seqFirst === BigInt(i))).to.equal(true);
  });
});

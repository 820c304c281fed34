// SPDX-License-Identifier: MIT
/** Run folders for tests: sub-buffers in, a folder with sealed segments out. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { SegmentWriter } from '../../lab/trace/segment-writer.js';

/** A fixed wall clock for segment headers. */
export const SEGMENT_CLOCK_NS = 1_700_000_000_000_000_000n;

/** Writes sub-buffers as the segments of the run in `runDir`, sealed. */
export async function writeSegments(runDir: string, subbufs: readonly Buffer[], limitBytes?: number): Promise<void> {
  const folder = segmentsFolder(runDir);
  const writer = await SegmentWriter.create({
    folder,
    now: () => SEGMENT_CLOCK_NS,
    ...(limitBytes === undefined ? {} : { limitBytes }),
  });
  for (const bytes of subbufs) await writer.append(bytes);
  await writer.close();
}

/** Gives `use` a fresh run folder with these sub-buffers, and removes it afterwards. */
export async function withRun<T>(
  subbufs: readonly Buffer[],
  use: (runDir: string) => Promise<T>,
  limitBytes?: number,
): Promise<T> {
  const runDir = await mkdtemp(join(tmpdir(), 'lemona-test-'));
  try {
    await writeSegments(runDir, subbufs, limitBytes);
    return await use(runDir);
  } finally {
    await rm(runDir, { recursive: true, force: true });
  }
}

/** Everything an async iterable gives. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

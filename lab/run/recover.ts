// SPDX-License-Identifier: MIT
/** The end of a record whose guest crashed: from the guest's memory to the segments. */
import type { SegmentFolder } from '../evidence/files.js';
import { BootStore, Gate } from '../link/boot-store.js';
import { categoryOf } from '../trace/parts.js';
import { type Relic, relicsOf } from '../trace/relics.js';
import { readSegments } from '../trace/segment-reader.js';
import type { SealedSegment } from '../trace/segment-writer.js';
import type { RunFolder } from './folder.js';

/** What was appended. */
export interface Recovered {
  readonly subbufs: number;
  readonly bytes: number;
}

type OnSealed = (segment: SealedSegment, folder: SegmentFolder) => Promise<void>;

/** By stream, each in order. */
function byPlace(a: Relic, b: Relic): number {
  if (a.header.cpu !== b.header.cpu) return a.header.cpu - b.header.cpu;
  return a.header.number < b.header.number ? -1 : 1;
}

/** Whether a server of one category wrote these segments. */
async function areParts(segmentsDir: string): Promise<boolean> {
  for await (const item of readSegments(segmentsDir)) {
    if (item.type === 'subbuf') return categoryOf(item.header) !== undefined;
  }
  return false;
}

/**
 * Appends the sub-buffers of a memory dump that are not in the segments. Of those that the segments have the part of a
 * category of, another server may lack its own part: they are kept beside, whole. At most what the driver could keep is
 * in memory here: less than the guest's own.
 *
 * @returns what was `added` to the segments, and what is kept `whole`
 */
export async function recoverRelics(
  dump: string,
  folder: Pick<RunFolder, 'segmentsDir' | 'wholeSegmentsDir'>,
  onSealed: OnSealed,
): Promise<{ added: Recovered; whole: Recovered }> {
  const into = (dir: string, name: SegmentFolder) =>
    BootStore.open({
      ...{ folder: dir, now: () => BigInt(Date.now()) * 1_000_000n, syncGate: new Gate(1) },
      onSealed: (segment) => onSealed(segment, name),
    });
  const store = await into(folder.segmentsDir, 'segments');
  const missing: Relic[] = [];
  const there: Relic[] = [];
  let added: Recovered;
  try {
    for await (const relic of relicsOf(dump)) {
      const isThere = relic.header.number < (store.reached.get(relic.header.cpu) ?? 0n);
      (isThere ? there : missing).push(relic);
    }
    added = await append(missing, store);
  } finally {
    await store.close();
  }
  if (there.length === 0 || !(await areParts(folder.segmentsDir))) return { added, whole: { subbufs: 0, bytes: 0 } };
  const beside = await into(folder.wholeSegmentsDir, 'segments-whole');
  try {
    return { added, whole: await append(there, beside) };
  } finally {
    await beside.close();
  }
}

async function append(relics: Relic[], store: BootStore): Promise<Recovered> {
  const before = store.totals;
  for (const { header, bytes } of relics.sort(byPlace)) await store.append(header, bytes);
  await store.flush();
  return { subbufs: store.totals.subbufs - before.subbufs, bytes: store.totals.bytes - before.bytes };
}

// SPDX-License-Identifier: MIT
/** The end of a record whose guest crashed: from the guest's memory to the segments. */
import type { SegmentFolder } from '../evidence/files.js';
import { BootStore, Gate } from '../link/boot-store.js';
import { categoryOf } from '../trace/parts.js';
import { type Relic, relicsOf } from '../trace/relics.js';
import { readSegments } from '../trace/segment-reader.js';
import type { SealedSegment } from '../trace/segment-writer.js';
import type { SubbufHeader } from '../trace/subbuf.js';
import type { RunFolder } from './folder.js';

/** What was appended. */
interface Recovered {
  readonly subbufs: number;
  readonly bytes: number;
}

type OnSealed = (segment: SealedSegment, folder: SegmentFolder) => Promise<void>;

/** By stream, each in order. */
function byPlace(a: Relic, b: Relic): number {
  if (a.header.cpu !== b.header.cpu) return a.header.cpu - b.header.cpu;
  return a.header.number < b.header.number ? -1 : 1;
}

/** The first sub-buffer of the segments: all are of its boot, and of its category. */
async function firstOf(segmentsDir: string): Promise<SubbufHeader | undefined> {
  for await (const item of readSegments(segmentsDir)) if (item.type === 'subbuf') return item.header;
  return undefined;
}

/**
 * Those of one boot, each stream in order. The boot's number is drawn by the kernel and shown to no program, so that
 * none can leave in its own memory what would be taken for a part of the record. If nothing arrived, nobody knows it: then
 * it is that of most.
 */
function ofOneBoot(relics: readonly Relic[]): Relic[] {
  const boots = new Map<bigint, number>();
  for (const { header } of relics) boots.set(header.bootId, (boots.get(header.bootId) ?? 0) + 1);
  const [most] = [...boots].sort(([, a], [, b]) => b - a)[0] ?? [];
  return relics.filter(({ header }) => header.bootId === most).sort(byPlace);
}

/**
 * Appends the sub-buffers of a memory dump that are not in the segments. Of those that the segments have the part of a
 * category of, another server may lack its own part: they are kept beside, whole. At most what the driver could keep is
 * in memory here: less than the guest's own.
 *
 * @param onAdded is told what was `added` to the segments, then what is kept `whole`, as soon as it is
 */
export async function recoverRelics(
  dump: string,
  folder: Pick<RunFolder, 'segmentsDir' | 'wholeSegmentsDir'>,
  onSealed: OnSealed,
  onAdded: (what: 'added' | 'whole', recovered: Recovered) => void,
): Promise<void> {
  const into = (dir: string, name: SegmentFolder) =>
    BootStore.open({
      ...{ folder: dir, now: () => BigInt(Date.now()) * 1_000_000n, syncGate: new Gate(1) },
      onSealed: (segment) => onSealed(segment, name),
    });
  const store = await into(folder.segmentsDir, 'segments');
  const first = await firstOf(folder.segmentsDir);
  const found: Relic[] = [];
  let there: Relic[];
  try {
    for await (const relic of relicsOf(dump))
      if (first === undefined || relic.header.bootId === first.bootId) found.push(relic);
    const relics = ofOneBoot(found);
    const isThere = ({ header }: Relic) => header.number < (store.reached.get(header.cpu) ?? 0n);
    there = relics.filter(isThere);
    onAdded(
      'added',
      await append(
        relics.filter((relic) => !isThere(relic)),
        store,
      ),
    );
  } finally {
    await store.close();
  }
  if (there.length === 0 || first === undefined || categoryOf(first) === undefined) return;
  const beside = await into(folder.wholeSegmentsDir, 'segments-whole');
  try {
    onAdded('whole', await append(there, beside));
  } finally {
    await beside.close();
  }
}

async function append(relics: readonly Relic[], store: BootStore): Promise<Recovered> {
  const before = store.totals;
  for (const { header, bytes } of relics) await store.append(header, bytes);
  await store.flush();
  return { subbufs: store.totals.subbufs - before.subbufs, bytes: store.totals.bytes - before.bytes };
}

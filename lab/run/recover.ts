// SPDX-License-Identifier: MIT
/** The end of a record whose guest crashed: from the guest's memory to the segments. */
import { BootStore, Gate } from '../link/boot-store.js';
import { type Relic, relicsOf } from '../trace/relics.js';
import type { SegmentWriterOptions } from '../trace/segment-writer.js';

/** By stream, each in order. */
function byPlace(a: Relic, b: Relic): number {
  if (a.header.cpu !== b.header.cpu) return a.header.cpu - b.header.cpu;
  return a.header.number < b.header.number ? -1 : 1;
}

/**
 * Appends the sub-buffers of a memory dump that are not in the segments. At most what the driver could keep is in
 * memory here: less than the guest's own.
 */
export async function recoverRelics(
  dump: string,
  segments: Pick<SegmentWriterOptions, 'folder' | 'onSealed'>,
): Promise<{ subbufs: number; bytes: number }> {
  const now = () => BigInt(Date.now()) * 1_000_000n;
  const store = await BootStore.open({ ...segments, now, syncGate: new Gate(1) });
  const before = store.totals;
  try {
    const missing: Relic[] = [];
    for await (const relic of relicsOf(dump)) {
      if (relic.header.number >= (store.reached.get(relic.header.cpu) ?? 0n)) missing.push(relic);
    }
    for (const { header, bytes } of missing.sort(byPlace)) await store.append(header, bytes);
    await store.flush();
  } finally {
    await store.close();
  }
  return { subbufs: store.totals.subbufs - before.subbufs, bytes: store.totals.bytes - before.bytes };
}

// SPDX-License-Identifier: MIT
import { eventsOf } from '../../lab/trace/events.js';

export interface RecordedTaint {
  readonly seq: bigint;
  /** 0n: of no inode, but of the whole file system. */
  readonly ino: bigint;
  readonly text: string;
}

/** What a record says of itself that its effects do not tell, in its order. */
export async function taintsOf(runDir: string): Promise<RecordedTaint[]> {
  const taints: RecordedTaint[] = [];
  for await (const { record } of eventsOf(runDir, { ops: new Set(['TAINT']) })) {
    if (record.kind !== 'effect' || record.effect.op !== 'TAINT') continue;
    const { seq, ino, text } = record.effect;
    taints.push({ seq, ino, text: text.toString() });
  }
  return taints;
}

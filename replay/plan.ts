// SPDX-License-Identifier: MIT
/**
 * The plan of a rebuild: the recorded effects after a checkpoint, up to and including an instant, as they were
 * recorded and in the one order that counts. Effects on other file systems are left out; holes in the sequence are
 * handed out as gaps. Reads segments, decides nothing else.
 */
import { AT, OP } from '../lab/abi/layout.js';
import { mergeEffects } from '../lab/trace/merge.js';
import { splitGap } from '../lab/trace/ranges.js';
import type { RunIndex } from '../lab/trace/run-index.js';
import { LabError } from '../lab/util/errors.js';

export interface PlannedEffect {
  readonly type: 'effect';
  readonly seq: bigint;
  /** The raw record; a view: copy it if it must outlive the next step. */
  readonly buf: Buffer;
}

/** Effects that are missing: lost in the guest (and declared), or cut off on the way. */
export interface PlanGap {
  readonly type: 'gap';
  readonly first: bigint;
  readonly last: bigint;
  readonly isDeclared: boolean;
}

export type PlanItem = PlannedEffect | PlanGap;

export interface PlanOptions {
  /** Effects up to and including this one are in the checkpoint. */
  readonly after: bigint;
  /** Last effect wanted. */
  readonly to: bigint;
  /** The root file system's device number in the recording. */
  readonly dev: number;
  /** Numbers of the marks that stand at a frozen root file system: a program may freeze another one. */
  readonly marks?: ReadonlySet<bigint>;
  readonly signal?: AbortSignal;
}

/** Effects that say nothing about a file system's content. */
const SILENT_OPS: ReadonlySet<number> = new Set([OP.MOUNT, OP.UMOUNT, OP.MARK, OP.NOP, OP.START]);

/**
 * Whether the agent needs an effect at all. A taint has the device it was done to: another disk's is no harm here; one
 * without a device may have been done to any.
 */
export function concerns(buf: Buffer, dev: number): boolean {
  const op = buf.readUInt16LE(AT.lemona_rec.code);
  const at = buf.readUInt32LE(AT.lemona_effect.dev);
  return !SILENT_OPS.has(op) && (at === dev || (op === OP.TAINT && at === 0));
}

const isMark = (buf: Buffer) => buf.readUInt16LE(AT.lemona_rec.code) === OP.MARK;

/** Streams the plan; memory does not grow with the run. */
export async function* planEffects(
  runDir: string,
  index: RunIndex,
  options: PlanOptions,
): AsyncGenerator<PlanItem, void, void> {
  const { declared } = index;
  const { after, to, dev, marks, signal } = options;
  let reached = after;
  for await (const item of mergeEffects(runDir, index, { from: after + 1n, to, ...(signal ? { signal } : {}) })) {
    if (item.type === 'gap') {
      for (const part of splitGap(item, declared)) yield { type: 'gap', ...part };
      reached = item.last;
    } else if (item.type === 'effect') {
      reached = item.seq;
      if (concerns(item.buf, dev) || (marks?.has(item.seq) && isMark(item.buf)))
        yield { type: 'effect', seq: item.seq, buf: item.buf };
    }
  }
  if (reached < to) {
    for (const part of splitGap({ first: reached + 1n, last: to }, declared)) yield { type: 'gap', ...part };
  }
}

/** Other file systems named where the image's was not mounted: a message, not a list for machines. */
const OTHERS_NAMED = 8;

/** Reads a MOUNT effect's device if it mounted the ext4 with that UUID. Pure. */
export function mountedDev(buf: Buffer, uuid: Buffer): number | undefined {
  const M = AT.lemona_mount;
  if (buf.readUInt16LE(AT.lemona_rec.code) !== OP.MOUNT || buf.length < M.type_len + 4) return undefined;
  if (!buf.subarray(M.uuid, M.uuid + 16).equals(uuid)) return undefined;
  return buf.readUInt32LE(AT.lemona_effect.dev);
}

/**
 * The device number that the root file system had while it was recorded: that of the first MOUNT effect with the
 * image's UUID. The driver emits one for file systems that were mounted before it was loaded, too.
 */
export async function findRootDev(
  runDir: string,
  index: RunIndex,
  uuid: Buffer,
  signal?: AbortSignal,
): Promise<number> {
  const seen = new Set<string>();
  for await (const item of mergeEffects(runDir, index, signal ? { signal } : {})) {
    if (item.type !== 'effect') continue;
    const dev = mountedDev(item.buf, uuid);
    if (dev !== undefined) return dev;
    if (seen.size < OTHERS_NAMED && item.buf.readUInt16LE(AT.lemona_rec.code) === OP.MOUNT)
      seen.add(item.buf.subarray(AT.lemona_mount.uuid, AT.lemona_mount.uuid + 16).toString('hex'));
  }
  throw new LabError(
    'LAB_RUN_CORRUPT',
    `no MOUNT effect has the image's UUID ${uuid.toString('hex')}; those recorded: ${[...seen].join(', ') || 'none'}`,
    { next: 'the run can only be rebuilt if the mount of its root file system was recorded' },
  );
}

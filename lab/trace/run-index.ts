// SPDX-License-Identifier: MIT
/**
 * The index pass: one look at all bytes of a run, after which every sub-buffer is known by place, time and
 * sequence numbers. About 300 bytes of memory per sub-buffer, so 100 GB of trace index in well under 200 MB.
 *
 * Nothing here trusts the guest: its kernel may be an intruder's, and write what it likes with good checksums. What
 * breaks the order that lets the merges hold one sub-buffer per stream in memory is a problem, and is left out.
 */
import { join } from 'node:path';
import type { LostNote } from './lost.js';
import { readSegments, type SegmentProblem } from './segment-reader.js';
import type { SubbufHeader } from './subbuf.js';
import { type DeclaredLoss, surveySubbuf } from './walk.js';

export interface SubbufEntry {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
  readonly cpu: number;
  readonly bootId: bigint;
  readonly number: bigint;
  readonly monoNs: bigint;
  readonly realNs: bigint;
  /** 0n: holds no effect. */
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
  readonly records: number;
  readonly effects: number;
  readonly issued: bigint;
  readonly dropped: bigint;
  /** False if effects inside do not ascend: legal to read, but not what the writer promises. */
  readonly isAscending: boolean;
}

export interface RunIndex {
  /** In file order. */
  readonly entries: readonly SubbufEntry[];
  /** Those that name effects, in file order. */
  readonly losses: readonly DeclaredLoss[];
  /** What the lost effects would have changed. */
  readonly lost: readonly LostNote[];
  readonly problems: readonly SegmentProblem[];
  /** Bytes of good sub-buffers. */
  readonly bytes: number;
}

/** CPUs a guest may have, with room to spare; each one may cost the merges a sub-buffer in memory. */
const CPUS_MAX = 256;
/** Losses that name effects, in one run. Each is a time when a buffer was full; beyond this the numbers are gaps. */
const LOSSES_KEPT = 500_000;
/** Notes of lost effects. Those left out count no numbers, so that a rebuild vouches for nothing. */
const NOTES_KEPT = 500_000;
/** Problems listed: more are only a longer list of the same damage. */
const PROBLEMS_LISTED = 10_000;

/** Folder of a run's segments. */
export function segmentsFolder(runDir: string): string {
  return join(runDir, 'segments');
}

/** Reads and checks everything once. */
export async function indexRun(runDir: string, signal?: AbortSignal): Promise<RunIndex> {
  const entries: SubbufEntry[] = [];
  const losses: DeclaredLoss[] = [];
  const lost: LostNote[] = [];
  const problems: SegmentProblem[] = [];
  let bytes = 0;
  /** Largest number of each stream so far. */
  const reached = new Map<number, bigint>();
  for await (const item of readSegments(segmentsFolder(runDir))) {
    signal?.throwIfAborted();
    if (item.type === 'problem') {
      if (problems.length < PROBLEMS_LISTED) problems.push(item);
      continue;
    }
    const { segment, offset, header } = item;
    const survey = surveySubbuf(item.bytes, header);
    const detail = survey.problem ?? streamProblem(header, reached.get(header.cpu) ?? 0n);
    if (detail !== undefined) {
      if (problems.length < PROBLEMS_LISTED)
        problems.push({ type: 'problem', kind: 'malformed', segment, offset, detail });
      continue;
    }
    if (header.effects > 0) reached.set(header.cpu, header.seqLast);
    bytes += header.length;
    for (const loss of survey.losses) {
      if (loss.seqFirst > 0n && losses.length < LOSSES_KEPT) losses.push(loss);
    }
    for (const note of survey.lost) if (lost.length < NOTES_KEPT) lost.push(note);
    entries.push({
      segment,
      offset,
      length: header.length,
      cpu: header.cpu,
      bootId: header.bootId,
      number: header.number,
      monoNs: header.monoNs,
      realNs: header.realNs,
      seqFirst: survey.seqFirst,
      seqLast: survey.seqLast,
      records: header.records,
      effects: header.effects,
      issued: header.issued,
      dropped: header.dropped,
      isAscending: survey.isAscending,
    });
  }
  return { entries, losses, lost, problems, bytes };
}

/** Why a sub-buffer can't follow in its stream, whose largest number so far is `reached`; undefined if it can. */
function streamProblem(header: SubbufHeader, reached: bigint): string | undefined {
  if (header.cpu >= CPUS_MAX) return `is of CPU ${header.cpu}, at most ${CPUS_MAX} are read`;
  if (header.effects > 0 && header.seqFirst <= reached)
    return `its effects begin at ${header.seqFirst}, those of CPU ${header.cpu} had come to ${reached} before`;
  return undefined;
}

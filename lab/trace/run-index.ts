// SPDX-License-Identifier: MIT
/**
 * The index pass: one look at all bytes of a run, after which every sub-buffer is known by place, time and sequence
 * numbers, and the sums over them are done. What stays in memory does not grow with the run but for 40 bytes for each
 * 1024 sub-buffers: entries are kept by `entry-list.ts`, losses, notes and problems are capped.
 *
 * Nothing here trusts the guest: its kernel may be an intruder's, and write what it likes with good checksums. What
 * breaks the order that lets the merges hold one sub-buffer per stream in memory is a problem, and is left out.
 */
import { join } from 'node:path';
import { BlockStore, EntryList } from './entry-list.js';
import { NoteList, type Notes } from './note-list.js';
import { RangeList } from './ranges.js';
import { readSegments, type SegmentProblem } from './segment-reader.js';
import type { SubbufHeader } from './subbuf.js';
import { RunTotals } from './totals.js';
import { surveySubbuf } from './walk.js';

/** Close it: the index of a long run holds a file open. */
export interface RunIndex {
  /** Each CPU's good sub-buffers; ascending by CPU. */
  readonly streams: ReadonlyMap<number, EntryList>;
  readonly totals: RunTotals;
  /** Numbers of effects that are declared lost, joined. */
  readonly declared: RangeList;
  /** What the lost effects would have changed, in file order. */
  readonly lost: Notes;
  readonly problems: readonly SegmentProblem[];
  close(): Promise<void>;
}

export interface IndexOptions {
  readonly signal?: AbortSignal;
  /** Sees each good sub-buffer; the bytes are a view that it may not keep. */
  readonly visit?: (bytes: Buffer, header: SubbufHeader) => void;
  /** Blocks of entries kept in memory, instead of the usual number. */
  readonly blocksInMemory?: number;
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
export async function indexRun(runDir: string, options: IndexOptions = {}): Promise<RunIndex> {
  const store = new BlockStore(runDir, options.blocksInMemory);
  try {
    return { ...(await readIndex(runDir, store, options)), close: () => store.close() };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function readIndex(runDir: string, store: BlockStore, options: IndexOptions): Promise<Omit<RunIndex, 'close'>> {
  const streams = new Map<number, EntryList>();
  const totals = new RunTotals();
  const declared = new RangeList();
  const lost = new NoteList();
  const problems: SegmentProblem[] = [];
  for await (const item of readSegments(segmentsFolder(runDir))) {
    options.signal?.throwIfAborted();
    if (item.type === 'problem') {
      if (problems.length < PROBLEMS_LISTED) problems.push(item);
      continue;
    }
    const { segment, offset, header } = item;
    const survey = surveySubbuf(item.bytes, header);
    const stream = streams.get(header.cpu) ?? new EntryList(store);
    const detail = survey.problem ?? streamProblem(header, stream.reached);
    if (detail !== undefined) {
      if (problems.length < PROBLEMS_LISTED)
        problems.push({ type: 'problem', kind: 'malformed', segment, offset, detail });
      continue;
    }
    if (!streams.has(header.cpu)) streams.set(header.cpu, stream);
    for (const loss of survey.losses) {
      if (loss.seqFirst > 0n && declared.count < LOSSES_KEPT) declared.add(loss.seqFirst, loss.seqLast);
    }
    for (const note of survey.lost) if (lost.length < NOTES_KEPT) lost.push(note);
    totals.add(header, survey);
    options.visit?.(item.bytes, header);
    const { length, monoNs, realNs, effects } = header;
    const { seqFirst, seqLast, isAscending } = survey;
    const full = stream.append({ segment, offset, length, monoNs, realNs, seqFirst, seqLast, effects, isAscending });
    if (full !== undefined) await full;
  }
  declared.join();
  const ascending = new Map([...streams].sort(([a], [b]) => a - b));
  return { streams: ascending, totals, declared, lost, problems };
}

/** Why a sub-buffer can't follow in its stream, whose largest number so far is `reached`; undefined if it can. */
function streamProblem(header: SubbufHeader, reached: bigint): string | undefined {
  if (header.cpu >= CPUS_MAX) return `is of CPU ${header.cpu}, at most ${CPUS_MAX} are read`;
  if (header.effects > 0 && header.seqFirst <= reached)
    return `its effects begin at ${header.seqFirst}, those of CPU ${header.cpu} had come to ${reached} before`;
  return undefined;
}

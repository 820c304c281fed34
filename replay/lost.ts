// SPDX-License-Identifier: MIT
/** Lost effects on their way into the rebuild: which notes speak of a gap, and what they mean together. Pure. */
import { type LostNote, notesCover, TO_THE_END, WHAT } from '../lab/trace/lost.js';
import type { PlanGap } from './plan.js';

export type About = Pick<LostNote, 'ino' | 'gen' | 'what' | 'pos' | 'len'>;

/** Everything may have changed. */
const ANYTHING: About = { ino: 0n, gen: 0, what: WHAT.ALL, pos: 0n, len: TO_THE_END };

export interface LostEffects {
  /** What the effects of a gap were about: to be made known before the effects after it. */
  readonly of: (gap: PlanGap) => readonly About[];
  /** What all effects lost up to and including `seq` were about. */
  readonly upTo: (seq: bigint) => readonly About[];
}

/**
 * @param gaps every missing number of the record
 * @param dev the root file system's device number in the recording
 */
export function lostEffects(gaps: readonly PlanGap[], notes: readonly LostNote[], dev: number): LostEffects {
  const missing = gaps.reduce((sum, gap) => sum + gap.last - gap.first + 1n, 0n);
  const isCovered = gaps.every((gap) => gap.isDeclared) && notesCover(missing, notes);
  const relevant = notes
    .filter((note) => note.what !== 0 && (note.dev === dev || (note.ino === 0n && note.dev === 0)))
    .sort((a, b) => (a.seqFirst < b.seqFirst ? -1 : a.seqFirst > b.seqFirst ? 1 : 0));
  /** How far the notes up to each one reach: where a search for earlier ones may stop. */
  const reach: bigint[] = [];
  for (const { seqLast } of relevant) {
    const before = reach.at(-1) ?? 0n;
    reach.push(seqLast > before ? seqLast : before);
  }
  const aboutOf = (note: LostNote): About => (note.ino === 0n ? ANYTHING : note);
  if (!isCovered) {
    return {
      of: () => [ANYTHING],
      upTo: (seq) => (gaps.some((gap) => gap.first <= seq) ? [ANYTHING] : []),
    };
  }
  return {
    of: (gap) => {
      const found: About[] = [];
      for (let i = countUpTo(relevant, gap.last) - 1; i >= 0 && (reach[i] ?? 0n) >= gap.first; i--) {
        const note = relevant[i];
        if (note !== undefined && note.seqLast >= gap.first) found.push(aboutOf(note));
      }
      return found;
    },
    upTo: (seq) => relevant.slice(0, countUpTo(relevant, seq)).map(aboutOf),
  };
}

/** How many notes, ascending by `seqFirst`, begin at or before `seq`. */
function countUpTo(notes: readonly LostNote[], seq: bigint): number {
  let low = 0;
  let high = notes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((notes[middle]?.seqFirst ?? 0n) <= seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

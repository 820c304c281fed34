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
  const relevant = notes.filter((note) => note.what !== 0 && (note.dev === dev || (note.ino === 0n && note.dev === 0)));
  const aboutOf = (note: LostNote): About => (note.ino === 0n ? ANYTHING : note);
  if (!isCovered) {
    return {
      of: () => [ANYTHING],
      upTo: (seq) => (gaps.some((gap) => gap.first <= seq) ? [ANYTHING] : []),
    };
  }
  return {
    of: (gap) => relevant.filter((note) => note.seqFirst <= gap.last && note.seqLast >= gap.first).map(aboutOf),
    upTo: (seq) => relevant.filter((note) => note.seqFirst <= seq).map(aboutOf),
  };
}

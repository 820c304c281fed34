// SPDX-License-Identifier: MIT
/** Lost effects on their way into the rebuild: which notes speak of a gap, and what they mean together. Pure. */
import { type LostNote, notesCover, TO_THE_END, WHAT } from '../lab/trace/lost.js';
import type { Notes } from '../lab/trace/note-list.js';
import type { Gaps } from './gaps.js';
import type { PlanGap } from './plan.js';

export type About = Pick<LostNote, 'ino' | 'gen' | 'what' | 'pos' | 'len'>;

/** What the agent was told: it knows inodes and what of them, so that most notes are no news to it. */
export class Told {
  readonly #what = new Map<string, number>();

  /** Those of them that say something new, which counts as told from now on. */
  news(about: readonly About[]): readonly About[] {
    return about.filter(({ ino, gen, what }) => {
      const place = `${ino}/${gen}`;
      const known = this.#what.get(place) ?? 0;
      this.#what.set(place, known | what);
      return (known | what) !== known;
    });
  }

  /** The agent is another one, or an earlier one. */
  forget(): void {
    this.#what.clear();
  }
}

/** Everything may have changed. */
const ANYTHING: About = { ino: 0n, gen: 0, what: WHAT.ALL, pos: 0n, len: TO_THE_END };

export interface LostEffects {
  /** What the effects of a gap were about: to be made known before the effects after it. */
  readonly of: (gap: PlanGap) => readonly About[];
  /** What all effects lost up to and including `seq` were about. */
  readonly upTo: (seq: bigint) => AboutList;
}

/** A list that is made as it is read. */
export interface AboutList extends Iterable<About> {
  readonly length: number;
}

/**
 * @param gaps every missing number of the record
 * @param dev the root file system's device number in the recording
 */
export function lostEffects(gaps: Gaps, notes: Notes, dev: number): LostEffects {
  const unknownFrom = firstUnknown(gaps, notes);
  const isUnknown = (seq: bigint) => unknownFrom !== undefined && unknownFrom <= seq;
  const relevant = relevantNotes(notes, dev);
  return {
    of: (gap) => {
      if (isUnknown(gap.last)) return [ANYTHING];
      const found: About[] = [];
      for (let i = relevant.beginningUpTo(gap.last) - 1; i >= 0 && relevant.reach(i) >= gap.first; i--) {
        const note = relevant.at(i);
        if (note !== undefined && note.seqLast >= gap.first) found.push(aboutOf(note));
      }
      return found;
    },
    upTo: (seq) => {
      if (isUnknown(seq)) return [ANYTHING];
      const length = relevant.beginningUpTo(seq);
      return {
        length,
        *[Symbol.iterator]() {
          for (let i = 0; i < length; i++) {
            const note = relevant.at(i);
            if (note !== undefined) yield aboutOf(note);
          }
        },
      };
    },
  };
}

/** The first missing number of which no note tells what it was about; undefined: notes speak of all. */
function firstUnknown(gaps: Gaps, notes: Notes): bigint | undefined {
  const { undeclaredFrom, declared, listed } = gaps;
  return notesCover(declared, notes, undeclaredFrom) ? undeclaredFrom : listed[0]?.first;
}

function aboutOf(note: LostNote): About {
  return note.ino === 0n ? ANYTHING : note;
}

interface SortedNotes {
  readonly at: (i: number) => LostNote | undefined;
  /** How far the notes up to this one reach: where a search for earlier ones may stop. */
  readonly reach: (i: number) => bigint;
  /** How many notes begin at or before `seq`. */
  readonly beginningUpTo: (seq: bigint) => number;
}

/** The notes that say anything of this file system, ascending by their first number; in arrays of numbers. */
function relevantNotes(notes: Notes, dev: number): SortedNotes {
  const places: number[] = [];
  const firsts = new BigUint64Array(notes.length);
  let place = 0;
  for (const note of notes) {
    firsts[place] = note.seqFirst;
    if (note.what !== 0 && (note.dev === dev || (note.ino === 0n && note.dev === 0))) places.push(place);
    place++;
  }
  const first = (at: number) => firsts[at] ?? 0n;
  const order = Uint32Array.from(places).sort((a, b) => (first(a) < first(b) ? -1 : first(a) > first(b) ? 1 : a - b));
  const reach = new BigUint64Array(order.length);
  let most = 0n;
  for (const [i, at] of order.entries()) {
    const last = notes.at(at)?.seqLast ?? 0n;
    if (last > most) most = last;
    reach[i] = most;
  }
  return {
    at: (i) => notes.at(order[i] ?? notes.length),
    reach: (i) => reach[i] ?? 0n,
    beginningUpTo: (seq) => {
      let low = 0;
      let high = order.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (first(order[middle] ?? 0) <= seq) low = middle + 1;
        else high = middle;
      }
      return low;
    },
  };
}

// SPDX-License-Identifier: MIT
/**
 * The account of a run: is every record that was issued here, or declared lost? Four sums must come out:
 *   1. the sequence of effects has no gap that no LOSS record declares, and no number twice;
 *   2. for each CPU stream: issued = recorded + dropped, after every sub-buffer; of one that was split by category,
 *      what is in the other part is said there, and counts as accounted for;
 *   3. the sub-buffers of a stream are numbered 0, 1, 2, …
 *   4. the record reaches as far as is known from elsewhere: a mark's number came by another way than the record,
 *      and a part says up to which number there are effects in the whole.
 */
import { mergeEffects } from './merge.js';
import { type SeqRange, splitGap } from './ranges.js';
import type { RunIndex } from './run-index.js';
import type { StreamTotals } from './totals.js';

export interface StreamAccount {
  readonly cpu: number;
  readonly subbufs: number;
  readonly issued: bigint;
  readonly recorded: bigint;
  readonly dropped: bigint;
  readonly elsewhere: bigint;
  /** Records that should be here and are not: issued − dropped − recorded − elsewhere. */
  readonly missing: bigint;
  /** The other way round: records that are here and were not counted, or are here twice. */
  readonly surplus: bigint;
  /** Numbers of sub-buffers that are not here, or not in their place; of very many, the first. */
  readonly numberGaps: readonly SeqRange[];
}

export interface Account {
  readonly streams: readonly StreamAccount[];
  readonly issued: bigint;
  readonly recorded: bigint;
  /** Declared by the guest. */
  readonly dropped: bigint;
  /** In another part of the record, which servers of another category have. */
  readonly elsewhere: bigint;
  /** Neither here nor declared. What is too much on one stream makes up for nothing on another. */
  readonly missing: bigint;
  /** Here, and more than was issued. */
  readonly surplus: bigint;
  readonly effects: bigint;
  /** Those of `elsewhere`: their numbers are in `gaps`. */
  readonly effectsElsewhere: bigint;
  /** 0n: there are no effects. */
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
  /** Every missing number, declared and undeclared; of more than a few thousand gaps, the first. */
  readonly gaps: readonly (SeqRange & { readonly isDeclared: boolean })[];
  readonly duplicates: readonly bigint[];
  /** Sub-buffers whose effects did not ascend. */
  readonly disordered: number;
  /** More than one boot in one run is a mix-up. */
  readonly boots: number;
  /** Nothing is missing or elsewhere, nothing is double, nothing was lost, declared or not. */
  readonly isComplete: boolean;
  /** Everything that is not here was declared. */
  readonly isHonest: boolean;
}

/** Duplicates and gaps listed; more than that are only a longer list of the same mistake. */
const DUPLICATES_LISTED = 1000;
const GAPS_LISTED = 10_000;

function streamAccount({ cpu, subbufs, issued, dropped, numberGaps, ...counts }: StreamTotals): StreamAccount {
  const [recorded, elsewhere] = [BigInt(counts.recorded), BigInt(counts.elsewhere)];
  const rest = issued - dropped - recorded - elsewhere;
  const [missing, surplus] = rest < 0n ? [0n, -rest] : [rest, 0n];
  return { cpu, subbufs, issued, recorded, dropped, elsewhere, missing, surplus, numberGaps };
}

/**
 * Does the sums; reads the whole run once more to find gaps and duplicates exactly.
 * @param knownSeq  the number of an effect that is known to have happened, by a mark for instance; 0n: of none
 */
export async function accountRun(
  runDir: string,
  index: RunIndex,
  signal?: AbortSignal,
  knownSeq = 0n,
): Promise<Account> {
  const { totals } = index;
  const streams = totals.streams.map(streamAccount);
  const { declared } = index;
  const gaps: (SeqRange & { isDeclared: boolean })[] = [];
  let undeclared = 0n;
  const note = (parts: readonly (SeqRange & { isDeclared: boolean })[]): void => {
    for (const part of parts) {
      if (!part.isDeclared) undeclared += part.last - part.first + 1n;
      if (gaps.length < GAPS_LISTED) gaps.push(part);
    }
  };
  const duplicates: bigint[] = [];
  let effects = 0n;
  let seqFirst = 0n;
  let seqLast = 0n;
  for await (const item of mergeEffects(runDir, index, signal ? { signal } : {})) {
    if (item.type === 'effect') {
      effects++;
      if (seqFirst === 0n) seqFirst = item.seq;
      seqLast = item.seq;
    } else if (item.type === 'gap') note(splitGap(item, declared));
    else if (duplicates.length < DUPLICATES_LISTED) duplicates.push(item.seq);
  }
  // A loss at the very end leaves no later number that would show it.
  const at = declared.count - 1;
  if (at >= 0 && declared.last(at) > seqLast) {
    const first = declared.first(at) > seqLast ? declared.first(at) : seqLast + 1n;
    note([{ first, last: declared.last(at), isDeclared: true }]);
  }
  const reached = at >= 0 && declared.last(at) > seqLast ? declared.last(at) : seqLast;
  const known = knownSeq > totals.seqKnown ? knownSeq : totals.seqKnown;
  if (known > reached) note([{ first: reached + 1n, last: known, isDeclared: false }]);
  const sum = (of: (s: StreamAccount) => bigint): bigint => streams.reduce((total, s) => total + of(s), 0n);
  const missing = sum((s) => s.missing);
  const surplus = sum((s) => s.surplus);
  const dropped = sum((s) => s.dropped);
  const elsewhere = sum((s) => s.elsewhere);
  const { boots, disordered, effectsElsewhere } = totals;
  const isSound =
    missing + surplus === 0n &&
    duplicates.length === 0 &&
    boots <= 1 &&
    streams.every((s) => s.numberGaps.length === 0);
  return {
    streams,
    issued: sum((s) => s.issued),
    recorded: sum((s) => s.recorded),
    dropped,
    elsewhere,
    missing,
    surplus,
    effects,
    effectsElsewhere,
    seqFirst,
    seqLast,
    gaps,
    duplicates,
    disordered,
    boots,
    isComplete: isSound && dropped === 0n && elsewhere === 0n && gaps.length === 0,
    // A loss that is declared names a range: effects of other CPUs lie in it, which may be elsewhere.
    isHonest: isSound && undeclared <= effectsElsewhere,
  };
}

// SPDX-License-Identifier: MIT
/**
 * The account of a run: is every record that was issued here, or declared lost? Three sums must come out:
 *   1. the sequence of effects has no gap that no LOSS record declares, and no number twice;
 *   2. for each CPU stream: issued = recorded + dropped, after every sub-buffer;
 *   3. the sub-buffers of a stream are numbered 0, 1, 2, …
 */
import { mergeEffects } from './merge.js';
import type { RunIndex } from './run-index.js';
import type { SeqRange, StreamTotals } from './totals.js';
import type { DeclaredLoss } from './walk.js';

export interface StreamAccount {
  readonly cpu: number;
  readonly subbufs: number;
  readonly issued: bigint;
  readonly recorded: bigint;
  readonly dropped: bigint;
  /** Records that should be here and are not: issued − dropped − recorded. */
  readonly missing: bigint;
  /** Numbers of sub-buffers that are not here, or not in their place; of very many, the first. */
  readonly numberGaps: readonly SeqRange[];
}

export interface Account {
  readonly streams: readonly StreamAccount[];
  readonly issued: bigint;
  readonly recorded: bigint;
  /** Declared by the guest. */
  readonly dropped: bigint;
  /** Neither here nor declared. */
  readonly missing: bigint;
  readonly effects: bigint;
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
  /** Nothing is missing, nothing is double, nothing was lost, declared or not. */
  readonly isComplete: boolean;
  /** Everything that is missing was declared. */
  readonly isHonest: boolean;
}

/** Duplicates and gaps listed; more than that are only a longer list of the same mistake. */
const DUPLICATES_LISTED = 1000;
const GAPS_LISTED = 10_000;

function streamAccount({ cpu, subbufs, issued, dropped, recorded: count, numberGaps }: StreamTotals): StreamAccount {
  const recorded = BigInt(count);
  return { cpu, subbufs, issued, recorded, dropped, missing: issued - dropped - recorded, numberGaps };
}

/** Merges ranges that touch or overlap. */
export function joinRanges(ranges: readonly SeqRange[]): SeqRange[] {
  const joined: { first: bigint; last: bigint }[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const previous = joined.at(-1);
    if (previous && first <= previous.last + 1n) {
      if (last > previous.last) previous.last = last;
    } else joined.push({ first, last });
  }
  return joined;
}

/** The numbers that LOSS records declare, joined and ascending; a range that ends before it begins declares nothing. */
export function declaredRanges(losses: readonly DeclaredLoss[]): SeqRange[] {
  return joinRanges(
    losses
      .filter((loss) => loss.seqFirst > 0n && loss.seqFirst <= loss.seqLast)
      .map((loss) => ({ first: loss.seqFirst, last: loss.seqLast })),
  );
}

/** Place of the first range that does not end before `seq`: there may be many ranges, and a question for each gap. */
function firstFrom(ranges: readonly SeqRange[], seq: bigint): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle];
    if (range !== undefined && range.last < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Splits a gap into the parts that `declared` (joined, ascending) covers and those it does not. */
export function splitGap(gap: SeqRange, declared: readonly SeqRange[]): (SeqRange & { isDeclared: boolean })[] {
  const parts: (SeqRange & { isDeclared: boolean })[] = [];
  let at = gap.first;
  for (let i = firstFrom(declared, gap.first); i < declared.length; i++) {
    const range = declared[i];
    if (range === undefined || range.first > gap.last) break;
    if (range.first > at) {
      parts.push({ first: at, last: range.first - 1n, isDeclared: false });
      at = range.first;
    }
    if (range.last >= gap.last) {
      parts.push({ first: at, last: gap.last, isDeclared: true });
      return parts;
    }
    parts.push({ first: at, last: range.last, isDeclared: true });
    at = range.last + 1n;
  }
  if (at <= gap.last) parts.push({ first: at, last: gap.last, isDeclared: false });
  return parts;
}

/** Does the sums; reads the whole run once more to find gaps and duplicates exactly. */
export async function accountRun(runDir: string, index: RunIndex, signal?: AbortSignal): Promise<Account> {
  const { totals } = index;
  const streams = totals.streams.map(streamAccount);
  const declared = declaredRanges(index.losses);
  const gaps: (SeqRange & { isDeclared: boolean })[] = [];
  let hasUndeclared = false;
  const note = (parts: readonly (SeqRange & { isDeclared: boolean })[]): void => {
    for (const part of parts) {
      if (!part.isDeclared) hasUndeclared = true;
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
  const lastDeclared = declared.at(-1);
  if (lastDeclared && lastDeclared.last > seqLast) {
    const first = lastDeclared.first > seqLast ? lastDeclared.first : seqLast + 1n;
    note([{ first, last: lastDeclared.last, isDeclared: true }]);
  }
  const sum = (of: (s: StreamAccount) => bigint): bigint => streams.reduce((total, s) => total + of(s), 0n);
  const missing = sum((s) => s.missing);
  const dropped = sum((s) => s.dropped);
  const { boots, disordered } = totals;
  const isSound =
    missing === 0n && duplicates.length === 0 && boots <= 1 && streams.every((s) => s.numberGaps.length === 0);
  return {
    streams,
    issued: sum((s) => s.issued),
    recorded: sum((s) => s.recorded),
    dropped,
    missing,
    effects,
    seqFirst,
    seqLast,
    gaps,
    duplicates,
    disordered,
    boots,
    isComplete: isSound && dropped === 0n && gaps.length === 0,
    isHonest: isSound && !hasUndeclared,
  };
}

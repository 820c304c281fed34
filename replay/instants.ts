// SPDX-License-Identifier: MIT
/**
 * Instants: what a person may ask for, turned into a sequence number. The file system "at N" holds every effect
 * up to and including N.
 *
 *   start       the checkpoint
 *   end         the mark `end`, or the last effect of a run that has none
 *   mark:LABEL  that mark
 *   seq:N       that number
 *   2026-11-24T18:20:01.5Z   the last effect not later than that, by the guest's wall clock; without a zone, UTC
 *   +12.5s      the last effect not later than that long after the first one, by the guest's monotonic clock
 */
import { AT, KIND } from '../lab/abi/layout.js';
import type { SubbufEntry } from '../lab/trace/entry-list.js';
import { type RunIndex, segmentsFolder } from '../lab/trace/run-index.js';
import { SegmentAccess } from '../lab/trace/segment-reader.js';
import { checkHeader } from '../lab/trace/subbuf.js';
import { walkRecords } from '../lab/trace/walk.js';
import { LabError } from '../lab/util/errors.js';

export type Instant =
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  | { readonly kind: 'mark'; readonly label: string }
  | { readonly kind: 'seq'; readonly seq: bigint }
  /** ns since 1970 */
  | { readonly kind: 'wall'; readonly ns: bigint }
  /** ns since the first effect */
  | { readonly kind: 'offset'; readonly ns: bigint };

const ISO = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?$/;
const OFFSET = /^\+(\d{1,12})(?:\.(\d{1,9}))?s?$/;
const FORMS = 'start, end, mark:LABEL, seq:N, an ISO time, or +SECONDSs';

function fraction(digits: string | undefined): bigint {
  return BigInt((digits ?? '').padEnd(9, '0'));
}

/** Reads an instant; LAB_USAGE if it has none of the forms. */
export function parseInstant(text: string): Instant {
  if (text === 'start' || text === 'end') return { kind: text };
  if (text.startsWith('mark:') && text.length > 5) return { kind: 'mark', label: text.slice(5) };
  const seq = /^seq:(\d{1,20})$/.exec(text)?.[1];
  if (seq !== undefined) return { kind: 'seq', seq: BigInt(seq) };
  const offset = OFFSET.exec(text);
  if (offset !== null) return { kind: 'offset', ns: BigInt(offset[1] ?? '') * 1_000_000_000n + fraction(offset[2]) };
  const [, day, clock, part, zone] = ISO.exec(text) ?? [];
  if (day !== undefined && clock !== undefined) {
    // Date.parse takes the 30th of February for the 2nd of March.
    const midnightMs = Date.parse(`${day}T00:00:00Z`);
    if (Number.isNaN(midnightMs) || !new Date(midnightMs).toISOString().startsWith(day)) {
      throw new LabError('LAB_USAGE', `'${text}' is no instant: the calendar has no ${day}`, {
        next: `wanted ${FORMS}`,
      });
    }
    const ms = Date.parse(`${day}T${clock.length === 5 ? `${clock}:00` : clock}${zone ?? 'Z'}`);
    if (!Number.isNaN(ms)) return { kind: 'wall', ns: BigInt(ms) * 1_000_000n + fraction(part) };
  }
  throw new LabError('LAB_USAGE', `'${text}' is no instant`, { next: `wanted ${FORMS}` });
}

/** What a run knows about its instants. */
export interface InstantFacts {
  readonly runName: string;
  readonly checkpointSeq: bigint;
  /** 0n: the record holds no effect. */
  readonly lastSeq: bigint;
  readonly marks: readonly { readonly label: string; readonly seq: bigint }[];
}

/** Resolves instants that need no clock; `undefined` for those that do. Pure. */
export function resolveWithoutClock(instant: Instant, facts: InstantFacts): bigint | undefined {
  const { marks, runName, checkpointSeq, lastSeq } = facts;
  let last = lastSeq;
  if (checkpointSeq > last) last = checkpointSeq;
  switch (instant.kind) {
    case 'start':
      return checkpointSeq;
    case 'end':
      return marks.find((mark) => mark.label === 'end')?.seq ?? last;
    case 'mark': {
      const mark = marks.find((candidate) => candidate.label === instant.label);
      if (mark !== undefined) return mark.seq;
      const known =
        marks.length === 0 ? 'the run has no marks' : `marks of this run: ${marks.map((m) => m.label).join(', ')}`;
      throw new LabError('LAB_INSTANT_UNKNOWN', `run '${runName}' has no mark '${instant.label}'`, { next: known });
    }
    case 'seq':
      if (instant.seq < checkpointSeq || instant.seq > last) {
        throw new LabError(
          'LAB_INSTANT_UNKNOWN',
          `run '${runName}' has no effect ${instant.seq}: its checkpoint is at ${checkpointSeq}, its last effect is ${last}`,
          { next: `choose a number from ${checkpointSeq} to ${last}` },
        );
      }
      return instant.seq;
    default:
      return undefined;
  }
}

/** Visits the effects of a sub-buffer, each with its times. */
async function scan(
  access: SegmentAccess,
  entry: SubbufEntry,
  visit: (seq: bigint, monoNs: bigint, realNs: bigint) => void,
): Promise<void> {
  const bytes = await access.read(entry);
  const check = checkHeader(bytes);
  if (!check.ok) return;
  walkRecords(bytes, check.header, (buf, off, _size, kind) => {
    if (kind !== KIND.EFFECT) return;
    const dt = BigInt(buf.readUInt32LE(off + AT.lemona_rec.dt));
    visit(buf.readBigUInt64LE(off + AT.lemona_effect.seq), entry.monoNs + dt, entry.realNs + dt);
  });
}

/** The sub-buffer with the run's first effect. */
async function firstEntry(index: RunIndex): Promise<SubbufEntry | undefined> {
  let first: SubbufEntry | undefined;
  for (const list of index.streams.values()) {
    const entry = await list.effectsFrom(0n).next();
    if (entry !== undefined && (first === undefined || entry.seqFirst < first.seqFirst)) first = entry;
  }
  return first;
}

/** The highest number among effects whose time `isInTime`; 0n: there is none. */
async function lastInTime(
  access: SegmentAccess,
  index: RunIndex,
  isInTime: (monoNs: bigint, realNs: bigint) => boolean,
  signal: AbortSignal | undefined,
): Promise<bigint> {
  let best = 0n;
  for (const list of index.streams.values()) {
    // Latest numbers first: the first sub-buffers that begin early enough nearly always end the search.
    const entries = list.effectsBackwards();
    for (let entry = await entries.next(); entry !== undefined && entry.seqLast > best; entry = await entries.next()) {
      signal?.throwIfAborted();
      if (!isInTime(entry.monoNs, entry.realNs)) continue;
      await scan(access, entry, (seq, monoNs, realNs) => {
        if (seq > best && isInTime(monoNs, realNs)) best = seq;
      });
    }
  }
  return best;
}

/** The lowest number of a recorded effect above `seq`; undefined: there is none. */
async function firstAbove(access: SegmentAccess, index: RunIndex, seq: bigint): Promise<bigint | undefined> {
  let lowest: bigint | undefined;
  const take = (found: bigint) => {
    if (found > seq && (lowest === undefined || found < lowest)) lowest = found;
  };
  for (const list of index.streams.values()) {
    const entries = list.effectsFrom(seq + 1n);
    for (let entry = await entries.next(); entry !== undefined; entry = await entries.next()) {
      if (lowest !== undefined && entry.seqFirst >= lowest) break;
      await scan(access, entry, take);
    }
  }
  return lowest;
}

/** The last number there was: of an effect, of one that is declared lost, or of a mark, which run.json keeps. */
export function lastOf(index: RunIndex, marks: readonly { readonly seq: bigint }[]): bigint {
  const { declared, totals } = index;
  const lost = declared.count > 0 ? declared.last(declared.count - 1) : 0n;
  return [lost, ...marks.map(({ seq }) => seq)].reduce((most, seq) => (seq > most ? seq : most), totals.seqKnown);
}

/**
 * The sequence number of an instant. Of a time it is the last effect that is not later; effects behind it that are not
 * recorded may not be later either, so that they belong to it: a rebuild then says what it does not know of them.
 *
 * @throws LabError LAB_USAGE for no instant, LAB_INSTANT_UNKNOWN for one that this run does not reach
 */
export async function resolveInstant(
  text: string,
  runDir: string,
  index: RunIndex,
  facts: Omit<InstantFacts, 'lastSeq'>,
  signal?: AbortSignal,
): Promise<bigint> {
  const instant = parseInstant(text);
  const lastSeq = lastOf(index, facts.marks);
  const direct = resolveWithoutClock(instant, { ...facts, lastSeq });
  if (direct !== undefined) return direct;
  if (instant.kind !== 'wall' && instant.kind !== 'offset')
    throw new LabError('LAB_BUG', `instant '${text}' was not resolved`);

  if (index.totals.effectsElsewhere > 0n) {
    throw new LabError(
      'LAB_INSTANT_UNKNOWN',
      `run '${facts.runName}' is not all: another part has effects, and their times`,
      {
        next: './lemona merge joins the parts; or ask for a number',
      },
    );
  }
  const access = new SegmentAccess(segmentsFolder(runDir));
  let best: bigint;
  try {
    let origin = 0n;
    if (instant.kind === 'offset') {
      const first = (await firstEntry(index)) ?? noEffects(facts.runName);
      await scan(access, first, (seq, monoNs) => {
        if (seq === first.seqFirst) origin = monoNs;
      });
    }
    const wanted = origin + instant.ns;
    const isInTime = (monoNs: bigint, realNs: bigint) => (instant.kind === 'wall' ? realNs : monoNs) <= wanted;
    best = await lastInTime(access, index, isInTime, signal);
    const next = best === 0n ? undefined : await firstAbove(access, index, best);
    const last = next === undefined ? lastSeq : next - 1n;
    if (best > 0n && last > best) best = last;
  } finally {
    await access.close();
  }
  if (best === 0n || best < facts.checkpointSeq) {
    throw new LabError('LAB_INSTANT_UNKNOWN', `'${text}' is before the first effect of run '${facts.runName}'`, {
      next: 'ask for start, or a later time; ./lemona events shows the times',
    });
  }
  return best;
}

function noEffects(runName: string): never {
  throw new LabError('LAB_INSTANT_UNKNOWN', `run '${runName}' holds no effects`, { next: 'only start can be rebuilt' });
}

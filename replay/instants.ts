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
import { type RunIndex, type SubbufEntry, segmentsFolder } from '../lab/trace/run-index.js';
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
    const ms = Date.parse(`${day}T${clock.length === 5 ? `${clock}:00` : clock}${zone ?? 'Z'}`);
    if (!Number.isNaN(ms)) return { kind: 'wall', ns: BigInt(ms) * 1_000_000n + fraction(part) };
  }
  throw new LabError('LAB_USAGE', `'${text}' is no instant`, { next: `wanted ${FORMS}` });
}

/** Smallest and largest number of a record, and how many effects it holds; all 0n where there are none. */
export function seqSpan(index: RunIndex): { readonly first: bigint; readonly last: bigint; readonly count: bigint } {
  let first = 0n;
  let last = 0n;
  let count = 0n;
  for (const entry of index.entries) {
    if (entry.effects === 0) continue;
    if (count === 0n || entry.seqFirst < first) first = entry.seqFirst;
    if (entry.seqLast > last) last = entry.seqLast;
    count += BigInt(entry.effects);
  }
  return { first, last, count };
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

/** Visits the effects of sub-buffers, each with its times; stops when `visit` says so. */
async function scan(
  runDir: string,
  entries: readonly SubbufEntry[],
  visit: (seq: bigint, monoNs: bigint, realNs: bigint) => void,
  enough: (next: SubbufEntry) => boolean,
  signal?: AbortSignal,
): Promise<void> {
  const access = new SegmentAccess(segmentsFolder(runDir));
  try {
    for (const entry of entries) {
      signal?.throwIfAborted();
      if (enough(entry)) return;
      const check = checkHeader(await access.read(entry));
      if (!check.ok) continue;
      walkRecords(await access.read(entry), check.header, (buf, off, _size, kind) => {
        if (kind !== KIND.EFFECT) return;
        const dt = BigInt(buf.readUInt32LE(off + AT.lemona_rec.dt));
        visit(buf.readBigUInt64LE(off + AT.lemona_effect.seq), entry.monoNs + dt, entry.realNs + dt);
      });
    }
  } finally {
    await access.close();
  }
}

/**
 * The sequence number of an instant.
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
  const withEffects = index.entries.filter((entry) => entry.effects > 0);
  const direct = resolveWithoutClock(instant, { ...facts, lastSeq: seqSpan(index).last });
  if (direct !== undefined) return direct;
  if (instant.kind !== 'wall' && instant.kind !== 'offset')
    throw new LabError('LAB_BUG', `instant '${text}' was not resolved`);

  let origin = 0n;
  if (instant.kind === 'offset') {
    const first = withEffects.reduce(
      (best, entry) => (entry.seqFirst < best.seqFirst ? entry : best),
      withEffects[0] ?? noEffects(facts.runName),
    );
    await scan(
      runDir,
      [first],
      (seq, monoNs) => {
        if (seq === first.seqFirst) origin = monoNs;
      },
      () => false,
      signal,
    );
  }
  const wanted = origin + instant.ns;
  const time = (monoNs: bigint, realNs: bigint) => (instant.kind === 'wall' ? realNs : monoNs);
  // Latest numbers first: the first sub-buffers that hold anything early enough nearly always end the search.
  const candidates = withEffects
    .filter((entry) => time(entry.monoNs, entry.realNs) <= wanted)
    .sort((a, b) => (a.seqLast < b.seqLast ? 1 : a.seqLast > b.seqLast ? -1 : 0));
  let best = 0n;
  await scan(
    runDir,
    candidates,
    (seq, monoNs, realNs) => {
      if (time(monoNs, realNs) <= wanted && seq > best) best = seq;
    },
    (next) => next.seqLast <= best,
    signal,
  );
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

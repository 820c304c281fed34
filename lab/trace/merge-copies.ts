// SPDX-License-Identifier: MIT
/**
 * One record from what several storage points hold of one boot: mirrored, sharded by CPU or by category, or several of
 * these. Each sub-buffer is known by its CPU and number; every copy of it, or of a part of it, is compared with the
 * others, byte by byte, and parts are joined.
 *
 * Streams ascend in every folder, so one sub-buffer for each folder and CPU is in memory, and nothing else grows.
 */
import { createHash } from 'node:crypto';
import { type CopiedSubbuf, streamCopy } from './copies.js';
import { CATEGORIES, type Category, categoryOf, fits, joinParts } from './parts.js';
import type { SubbufHeader } from './subbuf.js';

export interface CopySource {
  /** Of segments; it may have a sub-buffer whole in one, and the part of a category in another. */
  readonly folders: readonly string[];
  /** Its chain is whole: of two contents that disagree, its own is taken. */
  readonly isProven: boolean;
}

/** Two copies of one sub-buffer differ. */
export interface Disagreement {
  readonly cpu: number;
  readonly number: bigint;
  /** The contents, the one that was taken first; `sources` are indexes. */
  readonly contents: readonly { readonly sha256: string; readonly sources: readonly number[] }[];
}

export type MergedCopy =
  | {
      readonly type: 'subbuf';
      readonly bytes: Buffer;
      readonly cpu: number;
      readonly number: bigint;
      readonly copies: number;
      /** Sources whose chains are whole have all of it. */
      readonly isProven: boolean;
      /** Those that have it whole. */
      readonly sources: readonly number[];
    }
  /** No source has the rest of a sub-buffer: it is handed out as the part of this category. */
  | { readonly type: 'part'; readonly cpu: number; readonly number: bigint; readonly category: Category }
  /** No source has the numbers `first` to `last`. */
  | { readonly type: 'missing'; readonly cpu: number; readonly first: bigint; readonly last: bigint }
  | ({ readonly type: 'disagreement' } & Disagreement)
  /** A source has a number again, or after a larger one. */
  | { readonly type: 'again'; readonly cpu: number; readonly number: bigint; readonly source: number };

interface Cursor {
  readonly source: number;
  readonly items: AsyncGenerator<CopiedSubbuf, void, void>;
  head: CopiedSubbuf | undefined;
}

interface Stream {
  readonly cpu: number;
  readonly cursors: readonly Cursor[];
  expected: bigint;
}

/**
 * Merges the copies of one boot.
 *
 * @param cpus the streams that any of the sources has
 * @yields sub-buffers, each once; within a stream by number, among streams by their clocks
 */
export async function* mergeCopies(
  sources: readonly CopySource[],
  bootId: bigint,
  cpus: Iterable<number>,
): AsyncGenerator<MergedCopy, void, void> {
  const streams: Stream[] = [...cpus].map((cpu) => ({
    cpu,
    cursors: sources.flatMap(({ folders }, source) =>
      folders.map((folder) => ({ source, items: streamCopy(folder, { bootId, cpu }), head: undefined })),
    ),
    expected: 0n,
  }));
  try {
    for (const stream of streams) {
      for (const cursor of stream.cursors) yield* advance(stream, cursor);
    }
    for (let stream = earliest(streams); stream !== undefined; stream = earliest(streams)) {
      yield* step(stream, sources);
    }
  } finally {
    for (const { cursors } of streams) for (const { items } of cursors) await items.return();
  }
}

/** Moves a cursor on; what does not ascend is passed over by name. */
async function* advance(stream: Stream, cursor: Cursor): AsyncGenerator<MergedCopy, void, void> {
  const before = cursor.head?.header.number ?? -1n;
  for (;;) {
    const next = await cursor.items.next();
    cursor.head = next.done === true ? undefined : next.value;
    if (cursor.head === undefined || cursor.head.header.number > before) return;
    yield { type: 'again', cpu: stream.cpu, number: cursor.head.header.number, source: cursor.source };
  }
}

function lowestNumber(stream: Stream): bigint | undefined {
  let lowest: bigint | undefined;
  for (const { head } of stream.cursors) {
    if (head !== undefined && (lowest === undefined || head.header.number < lowest)) lowest = head.header.number;
  }
  return lowest;
}

/** The stream whose next sub-buffer began first; undefined if all are used up. */
function earliest(streams: readonly Stream[]): Stream | undefined {
  let best: { readonly stream: Stream; readonly monoNs: bigint } | undefined;
  for (const stream of streams) {
    const number = lowestNumber(stream);
    const head = stream.cursors.find((cursor) => cursor.head?.header.number === number)?.head;
    if (head !== undefined && (best === undefined || head.header.monoNs < best.monoNs))
      best = { stream, monoNs: head.header.monoNs };
  }
  return best?.stream;
}

/** What some sources have of a sub-buffer, all the same bytes. */
interface Content {
  readonly header: SubbufHeader;
  readonly bytes: Buffer;
  readonly sources: readonly number[];
}

/** Whether the chain of a source is whole. */
type IsProven = (source: number) => boolean;

/** A sub-buffer that may be the true one, and what speaks for it. */
interface Candidate {
  readonly whole: Buffer;
  readonly holders: readonly Content[];
  readonly copies: number;
  readonly proven: number;
}

/** Groups equal contents, those of proven sources first, then those of more, then in the order in which they were named. */
function ranked(heads: readonly (CopiedSubbuf & { readonly source: number })[], isProven: IsProven): Content[] {
  const contents: (Content & { readonly sources: number[] })[] = [];
  for (const { header, bytes, source } of heads) {
    const same = contents.find((content) => content.bytes.equals(bytes));
    if (same === undefined) contents.push({ header, bytes, sources: [source] });
    else if (!same.sources.includes(source)) same.sources.push(source);
  }
  const proven = ({ sources }: Content) => sources.filter(isProven).length;
  return contents.sort((a, b) => proven(b) - proven(a) || b.sources.length - a.sources.length);
}

const ofCategory = (contents: readonly Content[], category: Category | undefined) =>
  contents.filter(({ header }) => categoryOf(header) === category);

const sourcesOf = (contents: readonly Content[]) => [...new Set(contents.flatMap(({ sources }) => sources))];

/** How many whole copies there are: as they are, and of others' parts as many as there are of the rarest. */
function copiesIn(contents: readonly Content[], counts: (source: number) => boolean): number {
  const whole = sourcesOf(ofCategory(contents, undefined)).filter(counts);
  const parts = [...CATEGORIES.values()].map(
    (category) =>
      sourcesOf(ofCategory(contents, category)).filter((source) => counts(source) && !whole.includes(source)).length,
  );
  return whole.length + Math.min(...parts);
}

/** Everything that may be true: what is there whole, and whatever two parts make. The most credible first. */
function candidatesOf(contents: readonly Content[], isProven: IsProven): Candidate[] {
  const wholes = ofCategory(contents, undefined).map(({ bytes }) => bytes);
  for (const network of ofCategory(contents, 'network')) {
    for (const disk of ofCategory(contents, 'disk')) {
      const joined = joinParts(network.bytes, disk.bytes);
      if (typeof joined !== 'string' && !wholes.some((whole) => whole.equals(joined))) wholes.push(joined);
    }
  }
  const candidates = wholes.map((whole) => {
    const holders = contents.filter(({ header, bytes }) => fits(header, bytes, whole));
    const copies = copiesIn(holders, () => true);
    return { whole, holders, copies, proven: copiesIn(holders, isProven) };
  });
  // Of as many copies, what more sources bear out, even if they have no more than a part.
  const votes = ({ holders }: Candidate) => sourcesOf(holders);
  const provenVotes = (one: Candidate) => votes(one).filter(isProven).length;
  return candidates.sort(
    (a, b) =>
      b.proven - a.proven ||
      b.copies - a.copies ||
      provenVotes(b) - provenVotes(a) ||
      votes(b).length - votes(a).length,
  );
}

function toldOf(bytes: Buffer, contents: readonly Content[]): Disagreement['contents'][number] {
  const held = sourcesOf(contents).sort((a, b) => a - b);
  return { sha256: createHash('sha256').update(bytes).digest('hex'), sources: held };
}

async function* step(stream: Stream, sources: readonly CopySource[]): AsyncGenerator<MergedCopy, void, void> {
  const { cpu } = stream;
  const number = lowestNumber(stream);
  if (number === undefined) return;
  if (number > stream.expected) yield { type: 'missing', cpu, first: stream.expected, last: number - 1n };
  const holders = stream.cursors.filter((cursor) => cursor.head?.header.number === number);
  const isProven: IsProven = (source) => sources[source]?.isProven === true;
  const heads = holders.flatMap(({ head, source }) => (head === undefined ? [] : [{ ...head, source }]));
  const contents = ranked(heads, isProven);
  const [best] = candidatesOf(contents, isProven);
  // Better one part than nothing, and better that with the effects.
  const [part] = [...ofCategory(contents, 'disk'), ...ofCategory(contents, 'network')];
  const alone = part === undefined ? undefined : { whole: part.bytes, holders: [part], copies: 0, proven: 0 };
  const taken = best ?? alone;
  if (taken === undefined) return;
  const others = contents.filter((content) => !taken.holders.includes(content));
  if (others.length > 0) {
    const told = [toldOf(taken.whole, taken.holders), ...others.map((other) => toldOf(other.bytes, [other]))];
    yield { type: 'disagreement', cpu, number, contents: told };
  }
  const category = best === undefined && part !== undefined ? categoryOf(part.header) : undefined;
  if (category !== undefined) yield { type: 'part', cpu, number, category };
  const { whole: bytes, copies, proven } = taken;
  const holding = sourcesOf(ofCategory(taken.holders, undefined));
  yield { type: 'subbuf', bytes, cpu, number, copies, isProven: proven > 0, sources: holding };
  stream.expected = number + 1n;
  for (const cursor of holders) yield* advance(stream, cursor);
}

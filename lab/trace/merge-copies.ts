// SPDX-License-Identifier: MIT
/**
 * One record from what several storage points hold of one boot: mirrored, sharded by CPU or by category, or several of
 * these. Each sub-buffer is known by its CPU and number; every copy of it, or of a part of it, is compared with the
 * others, byte by byte, and parts are joined.
 *
 * Streams ascend in every copy, so one sub-buffer for each copy and CPU is in memory, and nothing else grows.
 */
import { createHash } from 'node:crypto';
import { type CopiedSubbuf, streamCopy } from './copies.js';
import { CATEGORIES, type Category, categoryOf, isPartOf, joinParts } from './parts.js';

export interface CopySource {
  readonly folder: string;
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
    cursors: sources.map(({ folder }, source) => ({
      source,
      items: streamCopy(folder, { bootId, cpu }),
      head: undefined,
    })),
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
  readonly bytes: Buffer;
  readonly sources: readonly number[];
}

/** Groups equal contents, the one to be believed first. */
function ranked(heads: readonly { readonly bytes: Buffer; readonly source: number }[], sources: readonly CopySource[]) {
  const contents: { readonly bytes: Buffer; readonly sources: number[] }[] = [];
  for (const { bytes, source } of heads) {
    const same = contents.find((content) => content.bytes.equals(bytes));
    if (same === undefined) contents.push({ bytes, sources: [source] });
    else same.sources.push(source);
  }
  const proven = (content: Content) => content.sources.filter((source) => sources[source]?.isProven === true).length;
  // A whole chain counts first, then the number of copies, then the order in which they were named.
  return contents.sort((a, b) => proven(b) - proven(a) || b.sources.length - a.sources.length);
}

/** Makes the whole, says how often it is there, and what does not fit to what. */
function assemble(
  whole: Content | undefined,
  parts: readonly Content[],
): { readonly whole?: Buffer; readonly copies: number; readonly misfits: readonly Content[] } {
  const ofParts = parts.length === CATEGORIES.size ? Math.min(...parts.map(({ sources }) => sources.length)) : 0;
  if (whole !== undefined) {
    const wrong = parts.filter(({ bytes }) => !isPartOf(bytes, whole.bytes));
    const copies = whole.sources.length + (wrong.length === 0 ? ofParts : 0);
    return { whole: whole.bytes, copies, misfits: wrong.length === 0 ? [] : [whole, ...wrong] };
  }
  const joined = ofParts > 0 ? joinParts(parts.map(({ bytes }) => bytes)) : undefined;
  if (joined === undefined) return { copies: 0, misfits: [] };
  return typeof joined === 'string' ? { copies: 0, misfits: parts } : { whole: joined, copies: ofParts, misfits: [] };
}

function disagreement(cpu: number, number: bigint, contents: readonly Content[]): MergedCopy {
  const told = contents.map(({ bytes, sources }) => ({
    sha256: createHash('sha256').update(bytes).digest('hex'),
    sources,
  }));
  return { type: 'disagreement', cpu, number, contents: told };
}

async function* step(stream: Stream, sources: readonly CopySource[]): AsyncGenerator<MergedCopy, void, void> {
  const { cpu } = stream;
  const number = lowestNumber(stream);
  if (number === undefined) return;
  if (number > stream.expected) yield { type: 'missing', cpu, first: stream.expected, last: number - 1n };
  const holders = stream.cursors.filter((cursor) => cursor.head?.header.number === number);
  const heads = holders.flatMap(({ head, source }) =>
    head === undefined ? [] : [{ category: categoryOf(head.header), bytes: head.bytes, source }],
  );
  const taken = new Map<Category | undefined, Content>();
  for (const category of [undefined, ...CATEGORIES.values()]) {
    const contents = ranked(
      heads.filter((head) => head.category === category),
      sources,
    );
    if (contents.length > 1) yield disagreement(cpu, number, contents);
    if (contents[0] !== undefined) taken.set(category, contents[0]);
  }
  const parts = [...CATEGORIES.values()].flatMap((category) => taken.get(category) ?? []);
  const { whole, copies, misfits } = assemble(taken.get(undefined), parts);
  if (misfits.length > 0) yield disagreement(cpu, number, misfits);
  if (whole !== undefined) yield { type: 'subbuf', bytes: whole, cpu, number, copies };
  else {
    // Better one part than nothing, and better that with the effects.
    const category = taken.has('disk') ? 'disk' : 'network';
    const part = taken.get(category);
    if (part === undefined) return;
    yield { type: 'part', cpu, number, category };
    yield { type: 'subbuf', bytes: part.bytes, cpu, number, copies };
  }
  stream.expected = number + 1n;
  for (const cursor of holders) yield* advance(stream, cursor);
}

// SPDX-License-Identifier: MIT
/**
 * One record that came by two ways: the same sub-buffers must be in both folders, byte for byte; the second may have the
 * part of one category of each. What the driver recorded after it had told the second that no more would come is in the
 * first alone; that is no difference as long as it changes nothing that a rebuild would need.
 */
import { createHash } from 'node:crypto';
import { type Category, categoryOf, fits } from './parts.js';
import { readSegments, SegmentAccess, type SegmentPlace } from './segment-reader.js';
import type { SubbufHeader } from './subbuf.js';

export interface StreamComparison {
  /** Sub-buffers that are the same in both. */
  readonly same: number;
  /** Of the first alone, after the end that the second was told, without effects. */
  readonly afterEnd: number;
  /** In words, at most 100. */
  readonly differences: readonly string[];
}

interface Seen {
  readonly header: SubbufHeader;
  readonly digest: string;
  readonly place: SegmentPlace;
}

interface Streams {
  /** By `cpu:number`. */
  readonly subbufs: Map<string, Seen>;
  /** After the last number of each CPU. */
  readonly next: Map<number, bigint>;
}

type Visitor = (header: SubbufHeader, bytes: Buffer, place: SegmentPlace) => Promise<void> | void;

const DIFFERENCES_NAMED = 100;

const keyOf = ({ cpu, number }: SubbufHeader) => `${cpu}:${number}`;
const placeText = ({ segment, offset }: Pick<SegmentPlace, 'segment' | 'offset'>) => `segment ${segment} at ${offset}`;
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64');

/** Visits what is in a folder, each number once, and says what is wrong with it. */
async function visit(folder: string, onSubbuf: Visitor): Promise<string[]> {
  const problems: string[] = [];
  const keys = new Set<string>();
  for await (const item of readSegments(folder)) {
    if (item.type === 'problem') {
      problems.push(`${folder}: ${placeText(item)}: ${item.detail}`);
      continue;
    }
    const { header, bytes, segment, offset } = item;
    const place = { segment, offset, length: header.length };
    if (keys.has(keyOf(header)))
      problems.push(`${folder}: ${placeText(place)}: CPU ${header.cpu} number ${header.number} is there twice`);
    else await onSubbuf(header, bytes, place);
    keys.add(keyOf(header));
  }
  return problems;
}

/**
 * Compares the folders of two ways.
 * @param hasEnded the second was told that no more would come
 */
export async function compareStreams(first: string, second: string, hasEnded: boolean): Promise<StreamComparison> {
  const other: Streams = { subbufs: new Map(), next: new Map() };
  const categories = new Set<Category | undefined>();
  const ofSecond = await visit(second, (header, bytes, place) => {
    const { cpu, number } = header;
    other.subbufs.set(keyOf(header), { header, digest: digestOf(bytes), place });
    categories.add(categoryOf(header));
    if (number >= (other.next.get(cpu) ?? 0n)) other.next.set(cpu, number + 1n);
  });
  const differences: string[] = [];
  if (categories.size > 1) differences.push(`${second}: parts of several categories, or wholes and parts`);
  const access = new SegmentAccess(second);
  let same = 0;
  let afterEnd = 0;
  const compare: Visitor = async (header, bytes, place) => {
    const { cpu, number, effects } = header;
    const twin = other.subbufs.get(keyOf(header));
    other.subbufs.delete(keyOf(header));
    if (twin === undefined) {
      if (hasEnded && effects === 0 && number >= (other.next.get(cpu) ?? 0n)) afterEnd++;
      else differences.push(`CPU ${cpu} number ${number}: in ${first} (${placeText(place)}) alone`);
      return;
    }
    const isSame =
      categoryOf(twin.header) === undefined
        ? twin.digest === digestOf(bytes)
        : fits(twin.header, await access.read(twin.place), bytes);
    if (isSame) same++;
    else
      differences.push(
        `CPU ${cpu} number ${number}: ${first}, ${placeText(place)}, differs from ${second}, ${placeText(twin.place)}`,
      );
  };
  try {
    const ofFirst = await visit(first, compare);
    for (const [key, { place }] of other.subbufs)
      differences.push(`CPU ${key.replace(':', ' number ')}: in ${second} (${placeText(place)}) alone`);
    return { same, afterEnd, differences: [...ofFirst, ...ofSecond, ...differences].slice(0, DIFFERENCES_NAMED) };
  } finally {
    await access.close();
  }
}

// SPDX-License-Identifier: MIT
/**
 * One record that came by two ways: the same sub-buffers must be in both folders, byte for byte. What the driver
 * recorded after it had told the second that no more would come is in the first alone; that is no difference as long
 * as it changes nothing that a rebuild would need.
 */
import { createHash } from 'node:crypto';
import { readSegments } from './segment-reader.js';

export interface StreamComparison {
  /** Sub-buffers that are the same in both. */
  readonly same: number;
  /** Of the first alone, after the end that the second was told, without effects. */
  readonly afterEnd: number;
  /** In words, at most 100. */
  readonly differences: readonly string[];
}

interface Seen {
  readonly digest: string;
  readonly effects: number;
  readonly where: string;
}

interface Streams {
  /** By `cpu:number`. */
  readonly subbufs: Map<string, Seen>;
  /** After the last number of each CPU. */
  readonly next: Map<number, bigint>;
  readonly problems: readonly string[];
}

const DIFFERENCES_NAMED = 100;

async function streamsOf(folder: string): Promise<Streams> {
  const subbufs = new Map<string, Seen>();
  const next = new Map<number, bigint>();
  const problems: string[] = [];
  for await (const item of readSegments(folder)) {
    const where = `segment ${item.segment} at ${item.offset}`;
    if (item.type === 'problem') {
      problems.push(`${folder}: ${where}: ${item.detail}`);
      continue;
    }
    const { cpu, number, effects } = item.header;
    const key = `${cpu}:${number}`;
    if (subbufs.has(key)) problems.push(`${folder}: ${where}: CPU ${cpu} number ${number} is there twice`);
    const digest = createHash('sha256').update(item.bytes).digest('base64');
    subbufs.set(key, { digest, effects, where });
    if (number >= (next.get(cpu) ?? 0n)) next.set(cpu, number + 1n);
  }
  return { subbufs, next, problems };
}

/**
 * Compares the folders of two ways.
 * @param hasEnded the second was told that no more would come
 */
export async function compareStreams(first: string, second: string, hasEnded: boolean): Promise<StreamComparison> {
  const one = await streamsOf(first);
  const other = await streamsOf(second);
  const differences = [...one.problems, ...other.problems];
  let same = 0;
  let afterEnd = 0;
  for (const [key, { digest, effects, where }] of one.subbufs) {
    const [cpu, number] = key.split(':').map(BigInt) as [bigint, bigint];
    const twin = other.subbufs.get(key);
    if (twin?.digest === digest) same++;
    else if (twin !== undefined)
      differences.push(`CPU ${cpu} number ${number}: ${first}, ${where}, differs from ${second}, ${twin.where}`);
    else if (hasEnded && effects === 0 && number >= (other.next.get(Number(cpu)) ?? 0n)) afterEnd++;
    else differences.push(`CPU ${cpu} number ${number}: in ${first} (${where}) alone`);
  }
  for (const [key, { where }] of other.subbufs) {
    if (one.subbufs.has(key)) continue;
    differences.push(`CPU ${key.replace(':', ' number ')}: in ${second} (${where}) alone`);
  }
  return { same, afterEnd, differences: differences.slice(0, DIFFERENCES_NAMED) };
}

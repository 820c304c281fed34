// SPDX-License-Identifier: MIT
/**
 * What a rebuild across lost effects can't vouch for, by name: paths of the rebuilt disk, what of them, and which
 * bytes. All that is not named is as recorded.
 */
import { TO_THE_END, WHAT } from '../lab/trace/lost.js';
import type { Doubt } from './control.js';
import type { About } from './lost.js';
import type { Allowance } from './verify/compare.js';
import type { Hidden, ImageName } from './verify/names.js';

export interface ByteRange {
  readonly first: bigint;
  /** Not included; the highest number: to the end, wherever that is. */
  readonly end: bigint;
}

/** One path that can't be vouched for in all its parts. */
export interface Unvouched {
  /** As in the manifests: odd bytes are %XX. */
  readonly path: string;
  /**
   * `anything`: this path and all below it; `entries`: names that were made in this folder may be missing;
   * the others are parts of this one inode.
   */
  readonly what: readonly ('anything' | 'entries' | 'attributes' | 'times' | 'xattrs' | 'content')[];
  /** Of the content; empty unless `what` has it. */
  readonly ranges: readonly ByteRange[];
}

const key = (ino: bigint, gen: number) => `${ino}/${gen}`;

/** Joins ranges that touch. */
function joined(ranges: readonly ByteRange[]): ByteRange[] {
  const result: { first: bigint; end: bigint }[] = [];
  for (const range of [...ranges].sort((a, b) => (a.first < b.first ? -1 : 1))) {
    const last = result.at(-1);
    if (last !== undefined && range.first <= last.end) {
      if (range.end > last.end) last.end = range.end;
    } else result.push({ ...range });
  }
  return result;
}

function rangeOf({ pos, len }: About): ByteRange {
  const end = pos + len;
  return { first: pos, end: end > TO_THE_END ? TO_THE_END : end };
}

/**
 * @param about what was lost, up to the instant
 * @param doubts what the agent found in doubt, its own conclusions included
 * @param names the rebuilt disk's names
 */
export function unvouched(
  about: Iterable<About>,
  doubts: readonly Doubt[],
  names: Iterable<ImageName>,
): readonly Unvouched[] {
  const anything: Unvouched[] = [{ path: '/', what: ['anything'], ranges: [] }];
  if (doubts.some((doubt) => doubt.ino === 0n)) return anything;
  const ranges = new Map<string, ByteRange[]>(doubts.map((doubt) => [key(doubt.ino, doubt.gen), []]));
  for (const one of about) {
    if (one.ino === 0n) return anything;
    if ((one.what & WHAT.CONTENT) !== 0) ranges.get(key(one.ino, one.gen))?.push(rangeOf(one));
  }
  // Several recorded inodes may come to one rebuilt inode, one after the other.
  const byRebuilt = new Map<string, { what: number; ranges: ByteRange[] }>();
  for (const doubt of doubts) {
    if (doubt.rebuiltIno === 0) continue;
    const at = key(BigInt(doubt.rebuiltIno), doubt.rebuiltGen);
    const entry = byRebuilt.get(at) ?? { what: 0, ranges: [] };
    entry.what |= doubt.what;
    // The agent may have more doubts about content than a note has: then it is all of it.
    const known = ranges.get(key(doubt.ino, doubt.gen));
    if ((doubt.what & WHAT.CONTENT) !== 0)
      entry.ranges.push(
        ...((doubt.what & WHAT.ALL) === WHAT.ALL ||
        (doubt.what & WHAT.WHOLE) !== 0 ||
        known === undefined ||
        known.length === 0
          ? [{ first: 0n, end: TO_THE_END }]
          : known),
      );
    byRebuilt.set(at, entry);
  }
  const result: Unvouched[] = [];
  let under: string | undefined;
  for (const name of names) {
    // Below a path of which nothing is known, nothing is known.
    if (under !== undefined && name.path.startsWith(under)) continue;
    const entry = byRebuilt.get(key(BigInt(name.ino), name.gen));
    if (entry === undefined || entry.what === 0) continue;
    if ((entry.what & WHAT.PLACE) !== 0) {
      under = name.path === '/' ? '/' : `${name.path}/`;
      result.push({ path: name.path, what: ['anything'], ranges: [] });
      continue;
    }
    const inContent = joined(entry.ranges);
    const reachesEnd = inContent.some((range) => range.end > name.sizeBytes);
    const has = (bit: number) => (entry.what & bit) !== 0;
    const what: Unvouched['what'][number][] = [];
    if (has(WHAT.ENTRIES)) what.push('entries');
    if (has(WHAT.ATTR)) what.push('attributes');
    if (has(WHAT.TIMES)) what.push('times');
    // The mode stands in the ACL as well, and a change of owner takes capabilities away.
    if (has(WHAT.XATTR) || has(WHAT.ATTR)) what.push('xattrs');
    if (has(WHAT.CONTENT)) what.push('content');
    if (reachesEnd && !has(WHAT.ATTR)) what.push('attributes');
    if (what.length > 0) result.push({ path: name.path, what, ranges: has(WHAT.CONTENT) ? inContent : [] });
  }
  return result;
}

/** One line for people. */
export function describeUnvouched(one: Unvouched): string {
  const end = (range: ByteRange) => (range.end === TO_THE_END ? 'the end' : String(range.end - 1n));
  const parts = one.what.map((what) => {
    if (what === 'anything') return 'this name and all below it';
    if (what === 'entries') return 'names may be missing in it';
    if (what === 'content') return `bytes ${one.ranges.map((range) => `${range.first} to ${end(range)}`).join(', ')}`;
    return what;
  });
  return `${one.path}: ${parts.join('; ')}`;
}

/** For the comparison: what may differ where. */
export function allowances(list: readonly Unvouched[]): ReadonlyMap<string, Allowance> {
  return new Map(
    list.map(({ path, what }) => [
      path,
      {
        anything: what.includes('anything'),
        entries: what.includes('entries'),
        attributes: what.includes('attributes'),
        times: what.includes('times'),
        xattrs: what.includes('xattrs'),
      },
    ]),
  );
}

/** For the manifests: the bytes that do not count. */
export function hiddenBytes(list: readonly Unvouched[]): Hidden[] {
  return list.flatMap(({ path, ranges }) => ranges.map((range) => ({ path, ...range })));
}

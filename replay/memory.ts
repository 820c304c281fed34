// SPDX-License-Identifier: MIT
/**
 * How much memory a replay VM gets. Its agent keeps every inode that effects were about in a table for as long as the
 * inode has a name, and a VM that has too little ends there.
 */
import { inodesOfImage, type RebuildSource } from './source.js';

/** `struct object` of the agent with its head on the heap, and its share of the buckets while they grow. */
const TABLE_BYTES_AN_INODE = 192 + 24;
/** A rename is about two folders, what moves and what it replaces; no effect is about more inodes. */
const INODES_AN_EFFECT = 4n;
/** The kernel, what it caches of the disk, and the effects that wait for a birth: HELD_MAX of replay/agent/waiting.c. */
const ALL_ELSE_MIB = 96 + 128;
/** 17 million inodes; the agent says so if that is not enough. */
const MOST_MIB = 4096;

const MIB = 1024 * 1024;

/** Pure. @param leastMiB what is given for small disks and short runs */
export function memoryMiBFor(run: { readonly inodes: number; readonly effects: bigint }, leastMiB: number): number {
  const most = run.effects * INODES_AN_EFFECT;
  const inodes = most < BigInt(run.inodes) ? Number(most) : run.inodes;
  const wanted = ALL_ELSE_MIB + Math.ceil((inodes * TABLE_BYTES_AN_INODE) / MIB);
  return Math.min(Math.max(wanted, leastMiB), MOST_MIB);
}

/** For the VM that rebuilds a run: no more inodes have names than its image has room for. */
export async function memoryMiBOf(source: RebuildSource, leastMiB: number): Promise<number> {
  return memoryMiBFor({ inodes: await inodesOfImage(source), effects: source.index.totals.effects }, leastMiB);
}

// SPDX-License-Identifier: MIT
/**
 * Keyframes: saved states of the replay VM, each with its disk, from which every later instant is near. They are
 * internal snapshots of one qcow2 file in `keyframes/` of the run's folder. Everything in it can be made again and
 * may be deleted at any time.
 *
 *   keyframes.json   this file's `KeyframeList`
 *   disk.qcow2       the rebuilt disk, and the snapshots
 *   lock             held by the one process that uses them, or deletes them
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError, LabError, systemCodeOf } from '../lab/util/errors.js';
import { tryLock } from '../lab/util/lock.js';
import { type Findings, findingsOf } from './control.js';

export interface Keyframe {
  /** The disk and the VM hold every effect up to and including this one. */
  readonly seq: bigint;
  /** Name of the snapshot. */
  readonly tag: string;
  /** What speaks against the rebuild up to here. */
  readonly findings: Findings;
}

export interface KeyframeList {
  /** Everything that a saved VM depends on; a state saved under another identity can't be loaded. */
  readonly identity: string;
  /** Ascending by seq. */
  readonly keyframes: readonly Keyframe[];
}

export interface KeyframeFolder {
  readonly folder: string;
  readonly disk: string;
}

const LOCK = 'lock';

export function keyframeFolder(runDir: string): KeyframeFolder {
  const folder = path.join(runDir, 'keyframes');
  return { folder, disk: path.join(folder, 'disk.qcow2') };
}

/**
 * Makes the folder if need be and takes it for this process alone: two would write one disk. Give it back with
 * `releaseKeyframes`.
 */
export async function takeKeyframes(place: KeyframeFolder): Promise<void> {
  const lock = path.join(place.folder, LOCK);
  try {
    await mkdir(place.folder, { recursive: true });
    const owner = await tryLock(lock);
    if (owner === 'taken') return;
    throw new LabError('LAB_RUN_STATE', `process ${owner} uses the keyframes in ${place.folder}`, {
      next: `one session at a time goes through a run: wait for its end; if no such process runs, remove ${lock}`,
    });
  } catch (error) {
    throw ioError(`locking ${lock}`, error);
  }
}

export async function releaseKeyframes(place: KeyframeFolder): Promise<void> {
  await rm(path.join(place.folder, LOCK), { force: true });
}

const listFile = (place: KeyframeFolder) => path.join(place.folder, 'keyframes.json');

/** Reads the list; empty if there is none, it can't be read, or it belongs to another identity. */
export async function readKeyframes(place: KeyframeFolder, identity: string): Promise<readonly Keyframe[]> {
  let text: string;
  try {
    text = await readFile(listFile(place), 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw ioError(`reading ${listFile(place)}`, error);
  }
  try {
    const list = JSON.parse(text) as {
      identity: string;
      keyframes: { seq: string; tag: string; findings: unknown }[];
    };
    if (list.identity !== identity) return [];
    return list.keyframes.map(({ seq, tag, findings }) => ({
      seq: BigInt(seq),
      tag,
      findings: findingsOf(findings),
    }));
  } catch {
    // Cut off or edited: as good as none.
    return [];
  }
}

/** Replaces the list as a whole. */
export async function writeKeyframes(place: KeyframeFolder, list: KeyframeList): Promise<void> {
  const draft = `${listFile(place)}.part`;
  const text = JSON.stringify(list, (_key, value) => (typeof value === 'bigint' ? `${value}` : value), 1);
  try {
    await writeFile(draft, `${text}\n`);
    await rename(draft, listFile(place));
  } catch (error) {
    throw ioError(`writing ${listFile(place)}`, error);
  }
}

/** Deletes all that is in the folder but its lock, which the caller holds. */
export async function deleteKeyframes(place: KeyframeFolder): Promise<void> {
  try {
    for (const name of await readdir(place.folder)) {
      if (name !== LOCK) await rm(path.join(place.folder, name), { recursive: true, force: true });
    }
  } catch (error) {
    throw ioError(`deleting the keyframes in ${place.folder}`, error);
  }
}

/** The last keyframe that is not later than `seq`. Pure. */
export function nearestKeyframe(keyframes: readonly Keyframe[], seq: bigint): Keyframe | undefined {
  return keyframes.findLast((keyframe) => keyframe.seq <= seq);
}

/** How much may lie between two keyframes. */
export interface Spacing {
  readonly effects: number;
  /** Of records, content included. */
  readonly bytes: number;
}

/** About half a second of replay under emulation. */
const NEAR: Spacing = { effects: 12_000, bytes: 48_000_000 };
/** A run that would need more gets longer distances instead: each takes tens of megabytes. */
const KEYFRAMES_MAX = 256;

/** Pure. */
export function spacingFor(effects: bigint, bytes: number): Spacing {
  return {
    effects: Math.max(NEAR.effects, Math.ceil(Number(effects) / KEYFRAMES_MAX)),
    bytes: Math.max(NEAR.bytes, Math.ceil(bytes / KEYFRAMES_MAX)),
  };
}

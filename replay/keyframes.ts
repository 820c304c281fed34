// SPDX-License-Identifier: MIT
/**
 * Keyframes: saved states of the replay VM, each with its disk, from which every later instant is near. They are
 * internal snapshots of one qcow2 file in `keyframes/` of the run's folder. Everything in it can be made again and
 * may be deleted at any time.
 *
 *   keyframes.json   this file's `KeyframeList`
 *   disk.qcow2       the rebuilt disk, and the snapshots
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError, systemCodeOf } from '../lab/util/errors.js';

export interface Keyframe {
  /** The disk and the VM hold every effect up to and including this one. */
  readonly seq: bigint;
  /** Name of the snapshot. */
  readonly tag: string;
  /** Results that contradict the record up to here. */
  readonly mismatches: bigint;
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

export function keyframeFolder(runDir: string): KeyframeFolder {
  const folder = path.join(runDir, 'keyframes');
  return { folder, disk: path.join(folder, 'disk.qcow2') };
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
      keyframes: { seq: string; tag: string; mismatches: string }[];
    };
    if (list.identity !== identity) return [];
    return list.keyframes.map(({ seq, tag, mismatches }) => ({
      seq: BigInt(seq),
      tag,
      mismatches: BigInt(mismatches),
    }));
  } catch {
    // Cut off or edited: as good as none.
    return [];
  }
}

/** Replaces the list as a whole. */
export async function writeKeyframes(place: KeyframeFolder, list: KeyframeList): Promise<void> {
  const draft = `${listFile(place)}.part`;
  const keyframes = list.keyframes.map(({ seq, tag, mismatches }) => ({
    seq: `${seq}`,
    tag,
    mismatches: `${mismatches}`,
  }));
  try {
    await writeFile(draft, `${JSON.stringify({ identity: list.identity, keyframes }, undefined, 1)}\n`);
    await rename(draft, listFile(place));
  } catch (error) {
    throw ioError(`writing ${listFile(place)}`, error);
  }
}

/** Deletes all keyframes. */
export async function deleteKeyframes(place: KeyframeFolder): Promise<void> {
  try {
    await rm(place.folder, { recursive: true, force: true });
  } catch (error) {
    throw ioError(`deleting ${place.folder}`, error);
  }
}

export async function makeKeyframeFolder(place: KeyframeFolder): Promise<void> {
  try {
    await mkdir(place.folder, { recursive: true });
  } catch (error) {
    throw ioError(`making ${place.folder}`, error);
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

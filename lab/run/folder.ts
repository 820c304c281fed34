// SPDX-License-Identifier: MIT
/**
 * The folder of a run:
 *
 *   run.json       all inputs, digests, versions, outcome (manifest.ts)
 *   qemu.argv      QEMU's arguments, one a line; reproduce.sh the same by hand
 *   console.log    the guest's serial console
 *   qmp.jsonl      both directions of the QMP connection
 *   segments/      the record: NNNNNN.seg
 *   segments-socket/  the same as it came by the socket, if it came by the relay as well
 *   segments-whole/   of a crashed guest's memory: whole sub-buffers of which the run has the part of a category
 *   disk/          disk.qcow2: overlay on the image, with a snapshot for each mark
 *   checkpoints/   one JSON for each checkpoint
 *   chain.jsonl    signatures of all of it; custody.jsonl: who did what to it (../evidence/)
 *   base.json      of a boot that a server received: the disk it began with, if somebody has said which
 *   boots/N/       the same of boot N, if it failed and was tried again
 *   witness.bin    counts of the witness (witness.ts), if it was asked for
 *   keyframes/     saved replay VMs of `step`, if it was used; may be deleted
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { type AnyManifest, isRecorded, type RunManifest, readManifest, withBase } from './manifest.js';

export interface RunFolder {
  readonly dir: string;
  readonly name: string;
  readonly manifestFile: string;
  readonly baseFile: string;
  readonly consoleLog: string;
  readonly segmentsDir: string;
  readonly socketSegmentsDir: string;
  readonly wholeSegmentsDir: string;
  readonly diskFile: string;
  readonly checkpointsDir: string;
  readonly witnessFile: string;
}

/** A run that is there, with its manifest. */
export interface OpenRun extends RunFolder {
  readonly manifest: AnyManifest;
}

/** The paths in a run's folder. */
export function runFolderAt(dir: string): RunFolder {
  const absolute = path.resolve(dir);
  return {
    dir: absolute,
    name: path.basename(absolute),
    manifestFile: path.join(absolute, 'run.json'),
    baseFile: path.join(absolute, 'base.json'),
    consoleLog: path.join(absolute, 'console.log'),
    segmentsDir: path.join(absolute, 'segments'),
    socketSegmentsDir: path.join(absolute, 'segments-socket'),
    wholeSegmentsDir: path.join(absolute, 'segments-whole'),
    diskFile: path.join(absolute, 'disk', 'disk.qcow2'),
    checkpointsDir: path.join(absolute, 'checkpoints'),
    witnessFile: path.join(absolute, 'witness.bin'),
  };
}

/** Whether a run can have that name: one path component, so that no run escapes the runs folder. */
export function isRunName(name: string): boolean {
  return /^[A-Za-z0-9][\w.+-]{0,99}$/.test(name);
}

/** Where the run of that name lies. */
export function runDirOf(runsDir: string, name: string): string {
  if (!isRunName(name)) {
    throw new LabError('LAB_USAGE', `'${name}' can't be a run's name`, {
      next: 'use letters, digits and _ . + -, beginning with a letter or digit',
    });
  }
  return path.join(runsDir, name);
}

/** Where a run lies that is there: by its name, or by the path of its folder, which has a slash in it. */
export function findRunDir(runsDir: string, operand: string): string {
  if (operand.includes('/')) return path.resolve(operand);
  if (isRunName(operand)) return path.join(runsDir, operand);
  throw new LabError('LAB_USAGE', `'${operand}' can't be a run's name`, {
    next: `name a run, or the path of its folder with a / in it: ./${operand}`,
  });
}

/** Reads the run in a folder; LAB_RUN_UNKNOWN if there is none. */
export async function openRun(dir: string): Promise<OpenRun> {
  const folder = runFolderAt(dir);
  const manifest = await readManifest(folder.manifestFile);
  if (manifest === undefined) {
    throw new LabError('LAB_RUN_UNKNOWN', `there is no run in ${folder.dir} (no run.json)`, {
      next: `${await otherRuns(path.dirname(folder.dir))}; --runs DIR looks elsewhere`,
    });
  }
  return { ...folder, manifest: isRecorded(manifest) ? manifest : await withBase(manifest, folder.baseFile) };
}

/** The disk that a run's checkpoints are of. */
export function imageOf(run: OpenRun): RunManifest['image'] {
  const { image } = run.manifest;
  if (image === null) {
    throw new LabError(
      'LAB_RUN_STATE',
      `run '${run.name}' was received from a machine, and names no disk it began with`,
      {
        next: 'docs/server.md says how to name it',
      },
    );
  }
  return image;
}

async function otherRuns(runsDir: string): Promise<string> {
  try {
    const entries = await readdir(runsDir, { withFileTypes: true });
    const names = entries
      .filter((entry) => entry.isDirectory() && existsSync(runFolderAt(path.join(runsDir, entry.name)).manifestFile))
      .map((entry) => entry.name);
    if (names.length > 0) return `runs there: ${names.slice(0, 20).join(', ')}`;
  } catch {
    // Says the same as an empty folder.
  }
  return `${runsDir} holds no run yet`;
}

/**
 * Whether a new run may have that folder: an old run is replaced only with `force`; anything else is never deleted.
 * @returns whether there is an old one
 */
export async function checkNewRun(dir: string, force: boolean): Promise<boolean> {
  const folder = runFolderAt(dir);
  let entries: string[];
  try {
    entries = await readdir(folder.dir);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw ioError(`the run's folder ${folder.dir}`, error);
  }
  if (entries.length === 0) return false;
  if (!entries.includes('run.json'))
    throw new LabError(
      'LAB_RUN_EXISTS',
      `${folder.dir} exists, is not empty and holds no run.json: it will not be touched`,
      { next: 'choose another name with --run, or empty it yourself' },
    );
  if (!force)
    throw new LabError('LAB_RUN_EXISTS', `run '${folder.name}' exists already in ${folder.dir}`, {
      next: 'choose another name with --run, or replace it with --force',
    });
  return true;
}

/** Makes the folder of a new run. */
export async function createRunFolder(dir: string, force: boolean): Promise<RunFolder> {
  const folder = runFolderAt(dir);
  const hasOld = await checkNewRun(dir, force);
  try {
    if (hasOld) await rm(folder.dir, { recursive: true });
    await makeSubfolders(folder);
  } catch (error) {
    throw ioError(`making the run's folder ${folder.dir}`, error);
  }
  return folder;
}

async function makeSubfolders(folder: RunFolder): Promise<void> {
  for (const sub of [folder.segmentsDir, path.dirname(folder.diskFile), folder.checkpointsDir]) {
    await mkdir(sub, { recursive: true });
  }
}

/**
 * Moves what a failed boot left in a run's folder into `boots/N/` of it, and makes the folder ready for the next boot.
 * Returns that folder's path.
 */
export async function keepFailedBoot(folder: RunFolder, attempt: number): Promise<string> {
  const boots = path.join(folder.dir, 'boots');
  const kept = path.join(boots, String(attempt));
  try {
    await mkdir(kept, { recursive: true });
    // run.json last: a folder without it is one that `--force` does not replace.
    const names = (await readdir(folder.dir)).filter((name) => name !== path.basename(boots));
    const last = path.basename(folder.manifestFile);
    for (const name of [...names.filter((other) => other !== last), last]) {
      await rename(path.join(folder.dir, name), path.join(kept, name));
    }
    await makeSubfolders(folder);
  } catch (error) {
    throw ioError(`keeping a failed boot in ${kept}`, error);
  }
  return kept;
}

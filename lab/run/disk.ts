// SPDX-License-Identifier: MIT
/** The guest's disk: a qcow2 overlay on an immutable image, with internal snapshots. */
import { access, constants, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../proc/tool.js';
import { ioError, LabError, messageOf } from '../util/errors.js';

/** The name of a mark's snapshot in disk.qcow2. */
export function markSnapshotName(label: string): string {
  return `mark-${label}`;
}

/** As qemu-img takes it: `12:30.raw` would be a protocol `12`, and `-a.raw` an option. */
function imageName(file: string): string {
  return path.resolve(file);
}

/** Creates an empty overlay on a raw file. */
export async function createOverlay(backingRaw: string, file: string, signal?: AbortSignal): Promise<void> {
  await runTool(
    ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', imageName(backingRaw), '-F', 'raw', imageName(file)],
    { signal },
  );
}

export interface ConvertSource {
  readonly file: string;
  readonly format: 'raw' | 'qcow2';
  readonly snapshot?: string;
  /** A stopped QEMU has it open for writing. */
  readonly isInUse?: true;
}

/**
 * Copies an image, or one of its snapshots, into a new file; holes stay holes.
 * The file appears under its name only when it is whole.
 */
export async function convertImage(
  source: ConvertSource,
  output: string,
  outputFormat: 'raw' | 'qcow2',
  signal?: AbortSignal,
): Promise<void> {
  const draft = `${output}.part`;
  try {
    await runTool(
      [
        'qemu-img',
        'convert',
        ...(source.isInUse === true ? ['--force-share'] : []),
        ...(source.snapshot === undefined ? [] : ['-l', `snapshot.name=${source.snapshot}`]),
        // Lost power would only lose a copy: no need to wait for the disk.
        ...['-t', 'unsafe', '-f', source.format, '-O', outputFormat, imageName(source.file), imageName(draft)],
      ],
      { signal },
    );
    await rename(draft, output);
  } finally {
    await rm(draft, { force: true });
  }
}

/** Says what is wrong with the path of a new image before anything is done: LAB_USAGE. */
export async function checkImagePath(file: string): Promise<void> {
  const full = path.resolve(file);
  const folder = path.dirname(full);
  try {
    // With the slash it must be a folder.
    await access(`${folder}/`, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new LabError('LAB_USAGE', `${full}: no file can be made there: ${messageOf(error)}`, {
      next: `name a file in a folder that is there, and that you may write to`,
    });
  }
  const found = await stat(full).catch(() => undefined);
  if (found !== undefined && !found.isFile())
    throw new LabError('LAB_USAGE', `${full} is there, and is no file`, { next: 'name a file' });
}

/** Bytes as `ls` shows them. */
export async function fileSize(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    throw ioError(`looking at ${file}`, error);
  }
}

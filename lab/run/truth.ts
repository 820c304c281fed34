// SPDX-License-Identifier: MIT
/**
 * What the guest's disk really held (truth), and what a rebuild starts from
 * (checkpoints). Both are checked against the digests in run.json before they
 * are used.
 */
import { access, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { type ErrorCode, LabError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { sha256FileCached } from './digest.js';
import { convertImage, createOverlay, fileSize } from './disk.js';
import { imageOf, type OpenRun } from './folder.js';
import type { CheckpointEntry, MarkEntry } from './manifest.js';

export interface TruthDeps {
  readonly log: Log;
  readonly cacheDir: string;
  readonly signal?: AbortSignal | undefined;
}

export interface Truth {
  readonly mark: MarkEntry;
  readonly path: string;
  readonly sizeBytes: number;
}

/** The mark an instant names: `mark:L`, or `end`. Other instants have no truth. */
export function markOfInstant(run: OpenRun, instant: string): MarkEntry {
  const label = instant === 'end' ? 'end' : instant.startsWith('mark:') ? instant.slice('mark:'.length) : undefined;
  const labels = run.manifest.marks.map((mark) => mark.label);
  const there = labels.length === 0 ? 'this run has no marks' : `marks of this run: ${labels.join(', ')}`;
  if (label === undefined) {
    throw new LabError('LAB_NO_TRUTH', `the disk's true content is known at marks only, not at '${instant}'`, {
      next: there,
    });
  }
  const mark = run.manifest.marks.find((candidate) => candidate.label === label);
  if (mark !== undefined) return mark;
  if (label === 'end') {
    throw new LabError('LAB_NO_TRUTH', `run '${run.name}' has no mark 'end': it is ${run.manifest.state}`, {
      next: there,
    });
  }
  throw new LabError('LAB_INSTANT_UNKNOWN', `run '${run.name}' has no mark '${label}'`, { next: there });
}

/** Exports the guest's disk as it was at a mark into a sparse raw file. */
export async function exportTruth(run: OpenRun, instant: string, outputRaw: string, deps: TruthDeps): Promise<Truth> {
  const mark = markOfInstant(run, instant);
  await checkDisk(run, deps);
  await mkdir(path.dirname(path.resolve(outputRaw)), { recursive: true });
  await convertImage({ file: run.diskFile, format: 'qcow2', snapshot: mark.snapshot }, outputRaw, 'raw', deps.signal);
  return { mark, path: outputRaw, sizeBytes: await fileSize(outputRaw) };
}

export interface RestoredCheckpoint {
  readonly checkpoint: CheckpointEntry;
  /** Effects up to and including this are in the disk already. */
  readonly seq: bigint;
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
}

/**
 * Makes a fresh, writable disk as it was at a checkpoint. `qcow2` on an image
 * before power-on is an overlay and costs nothing; all else is a copy.
 */
export async function restoreCheckpoint(
  run: OpenRun,
  output: string,
  format: 'raw' | 'qcow2',
  deps: TruthDeps,
  name = 'start',
): Promise<RestoredCheckpoint> {
  const checkpoint = run.manifest.checkpoints.find((candidate) => candidate.name === name);
  if (checkpoint === undefined) {
    throw new LabError('LAB_RUN_STATE', `run '${run.name}' has no checkpoint '${name}': it is ${run.manifest.state}`, {
      next: 'only a run that came to the point of recording can be rebuilt',
    });
  }
  const restored = { checkpoint, seq: BigInt(checkpoint.seq), path: output, format };
  await mkdir(path.dirname(path.resolve(output)), { recursive: true });
  await checkImage(run, deps, checkpoint.sha256);
  if (checkpoint.snapshot !== null) {
    await checkDisk(run, deps);
    await convertImage(
      { file: run.diskFile, format: 'qcow2', snapshot: checkpoint.snapshot },
      output,
      format,
      deps.signal,
    );
  } else if (format === 'qcow2') {
    await createOverlay(imageOf(run).raw, output, deps.signal);
  } else {
    await convertImage({ file: imageOf(run).raw, format: 'raw' }, output, 'raw', deps.signal);
  }
  return restored;
}

/** The image under the disk must be the one the run was made with: snapshots and saved VMs share its blocks too. */
export async function checkImage(run: OpenRun, deps: TruthDeps, wanted?: string): Promise<void> {
  const image = imageOf(run);
  await checkDigest(
    image.raw,
    wanted ?? run.manifest.checkpoints.find((checkpoint) => checkpoint.sha256 !== undefined)?.sha256,
    `the image '${image.kind}' that run '${run.name}' started from`,
    `./lemona build image ${image.kind} makes it again if the recipe is unchanged`,
    deps,
  );
}

async function checkDisk(run: OpenRun, deps: TruthDeps): Promise<void> {
  await checkImage(run, deps);
  const { sha256 } = run.manifest.disk;
  if (sha256 === null) deps.log.debug(`run '${run.name}' is ${run.manifest.state}: its disk has no digest to check`);
  await checkDigest(
    run.diskFile,
    sha256 ?? undefined,
    `the disk of run '${run.name}'`,
    'nothing can bring it back; record again',
    deps,
  );
}

async function checkDigest(
  file: string,
  wanted: string | undefined,
  what: string,
  next: string,
  deps: TruthDeps,
): Promise<void> {
  const fail = (code: ErrorCode, message: string) => new LabError(code, message, { next });
  try {
    await access(file);
  } catch (error) {
    throw new LabError('LAB_RUN_CORRUPT', `${what} is gone: ${file}`, { cause: error, next });
  }
  if (wanted === undefined) return;
  const seen = await sha256FileCached(file, deps.cacheDir, deps.signal);
  if (seen !== wanted) {
    throw fail('LAB_CHECKPOINT_DIGEST', `${what} was changed: ${file} has SHA-256 ${seen}, run.json says ${wanted}`);
  }
}

// SPDX-License-Identifier: MIT
/** The names of an ext4 image with their inodes, and the bytes of files that a comparison leaves out. */
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { BuildContext } from '../../images/context.js';
import { Child, describeExit } from '../../lab/proc/child.js';
import { ioError, LabError } from '../../lab/util/errors.js';
import { buildManifestTool } from './tool.js';

export interface ImageName {
  /** As in the manifests: odd bytes are %XX. */
  readonly path: string;
  readonly ino: number;
  readonly gen: number;
  readonly sizeBytes: bigint;
}

/** Bytes `first` to `end` − 1 of a file. */
export interface Hidden {
  readonly path: string;
  readonly first: bigint;
  readonly end: bigint;
}

/** Writes the mask that lemona-manifest reads. */
export async function writeMask(file: string, hidden: readonly Hidden[]): Promise<void> {
  try {
    await writeFile(file, hidden.map(({ path, first, end }) => `${path}\t${first}\t${end}\n`).join(''));
  } catch (error) {
    throw ioError(`writing ${file}`, error);
  }
}

/** Lists the names of a raw image, in the order of the manifests. */
export async function listNames(image: string, ctx: BuildContext): Promise<ImageName[]> {
  const tool = await buildManifestTool(ctx);
  const child = await Child.spawn({
    label: 'lemona-manifest --names',
    argv: [tool, '--names', image],
    stdout: 'pipe',
    dieWithParent: true,
  });
  const names: ImageName[] = [];
  let isWhole = false;
  try {
    for await (const line of createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY })) {
      ctx.signal.throwIfAborted();
      if (line === 'lemona-names 1') continue;
      if (/^end \d+ \d+$/.test(line)) {
        isWhole = true;
        continue;
      }
      const [path = '', ino, gen, size] = line.split('\t');
      names.push({ path, ino: Number(ino), gen: Number(gen), sizeBytes: BigInt(size ?? '0') });
    }
  } finally {
    await child.stop();
  }
  if (!isWhole) {
    const exit = await child.exited;
    throw new LabError('LAB_REPLAY_FAILED', `listing ${image}: ${describeExit(exit)}: ${child.outputTail()}`);
  }
  return names;
}

// SPDX-License-Identifier: MIT
/**
 * Proves that CONFIG_LEMONA=n has vanilla's machine code: every executable
 * section of vmlinux and of every object, byte for byte by digest. Both are
 * built in the same tree, where make compiles only what a change reaches; what
 * it did not compile is compared all the same.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type BuildContext, buildKernel, type KernelBuild } from './build.js';
import { compareText, type TextComparison, type TreeText } from './elf-tree.js';

export interface CheckTextResult extends TextComparison {
  readonly release: string;
  readonly sourceVersion: string;
  readonly vanillaDigest: string;
  readonly digest: string;
  /** Objects compiled when n was built; the others were up to date in the shared tree. */
  readonly compiledForN: number;
}

async function textOf(kernel: KernelBuild): Promise<TreeText> {
  return JSON.parse(await readFile(kernel.text ?? '', 'utf8')) as TreeText;
}

/** Builds vanilla and n (or takes them from the cache) and compares them. */
export async function checkText(ctx: BuildContext): Promise<CheckTextResult> {
  const vanilla = await buildKernel('vanilla', ctx);
  const n = await buildKernel('n', ctx);
  const record = JSON.parse(await readFile(path.join(path.dirname(n.bzImage), 'build.json'), 'utf8')) as {
    readonly compiled: number;
  };
  return {
    ...compareText(await textOf(vanilla), await textOf(n)),
    release: n.release,
    sourceVersion: n.sourceVersion,
    vanillaDigest: vanilla.digest,
    digest: n.digest,
    compiledForN: record.compiled,
  };
}

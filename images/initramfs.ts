// SPDX-License-Identifier: MIT
/**
 * The initramfs of a recorded guest (`record`: lemona-init, the driver if it is
 * a module, lemona-key if it has servers) and of a replay VM (`replay`:
 * lemona-replay).
 */
import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { LabError } from '../lab/util/errors.js';
import { cached, cacheKey } from './cache.js';
import type { BuildContext } from './context.js';
import { type CpioEntry, S_IFCHR, S_IFDIR, S_IFREG, writeCpio } from './cpio.js';
import { buildGuestTool } from './tools.js';

export type InitramfsRole = 'record' | 'replay';

export interface InitramfsOptions {
  readonly role: InitramfsRole;
  /** The driver as a module, or null where it is built in or absent. */
  readonly module: string | null;
  /** With lemona-key. */
  readonly hasKey?: boolean;
}

/** Mount points of init; `sysroot` takes the traced disk. */
const FOLDERS = ['dev', 'proc', 'sys', 'sysroot'] as const;

/** What is in it: pure. */
export function initramfsEntries(
  init: Uint8Array,
  module: Uint8Array | null,
  key: Uint8Array | null = null,
): CpioEntry[] {
  return [
    ...FOLDERS.map((name) => ({ name, mode: S_IFDIR | 0o755 })),
    // The kernel opens it as init's standard files before anything is mounted.
    { name: 'dev/console', mode: S_IFCHR | 0o600, rdev: { major: 5, minor: 1 } },
    { name: 'init', mode: S_IFREG | 0o755, data: init },
    ...(module === null ? [] : [{ name: 'lemona.ko', mode: S_IFREG | 0o644, data: module }]),
    ...(key === null ? [] : [{ name: 'lemona-key', mode: S_IFREG | 0o755, data: key }]),
  ];
}

/** Path of the gzip-compressed cpio archive. */
export async function buildInitramfs(options: InitramfsOptions, ctx: BuildContext): Promise<string> {
  const tool = await buildGuestTool(options.role === 'record' ? 'init' : 'replay', ctx);
  const init = await readFile(tool);
  const module = options.module === null ? null : await readModule(options.module);
  const key = options.hasKey === true ? await readFile(await buildGuestTool('key', ctx)) : null;
  const archive = writeCpio(initramfsEntries(init, module, key));
  const entry = { area: 'initramfs', name: options.role, key: cacheKey([archive]), suffix: '.cpio.gz' };
  return cached(entry, ctx, (temporary) => writeFile(temporary, gzipSync(archive)));
}

async function readModule(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new LabError('LAB_CACHE_CORRUPT', `the driver's module ${file} cannot be read`, {
      cause: error,
      next: 'build it again with ./lemona build kernel m',
    });
  }
}

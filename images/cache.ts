// SPDX-License-Identifier: MIT
/**
 * The content-addressed cache: `CACHE/AREA/NAME-KEY`, a file or folder that is
 * complete and never changes once it is there.
 *
 * A build works on a temporary name beside it, made unique by pid and random
 * bits, and renames at the end; of two builders the second finds the name
 * taken and uses it. An interrupt leaves at most the temporary name, which the
 * next builder removes once its process is gone.
 */
import { createHash, randomBytes } from 'node:crypto';
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ioError, systemCodeOf, throwIfAborted } from '../lab/util/errors.js';
import { isAlive } from '../lab/util/lock.js';
import type { BuildContext } from './context.js';

/** Enough of a SHA-256 that two inputs of one cache never meet. */
const KEY_DIGITS = 32;

/** A cache key: the digest of everything that decides the content, in order. */
export function cacheKey(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
    // Lengths first: `ab`,`c` and `a`,`bc` are different inputs.
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest('hex').slice(0, KEY_DIGITS);
}

const TEMPORARY = /^\.tmp-(\d+)-[0-9a-f]+$/;

/** Removes what interrupted builds of processes that are gone left behind. */
async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = TEMPORARY.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await removeTree(path.join(folder, name));
  }
}

/** Removes a tree, folders without write permission included. */
export async function removeTree(target: string): Promise<void> {
  await rm(target, { recursive: true, force: true });
}

async function exists(target: string): Promise<boolean> {
  return access(target).then(
    () => true,
    () => false,
  );
}

export interface CacheEntry {
  /** Sub-folder of the cache, such as `images`. */
  readonly area: string;
  /** For people who look into the cache; the key alone decides. */
  readonly name: string;
  readonly key: string;
  /** Ending of the name, such as `.tar`. */
  readonly suffix?: string;
}

/** Path of the entry, built with `build(temporaryPath)` unless it is there. */
export async function cached(
  entry: CacheEntry,
  ctx: BuildContext,
  build: (temporaryPath: string) => Promise<void>,
): Promise<string> {
  const folder = path.join(ctx.cacheDir, entry.area);
  const final = path.join(folder, `${entry.name}-${entry.key}${entry.suffix ?? ''}`);
  if (await exists(final)) return final;
  throwIfAborted(ctx.signal, `building ${entry.name}`);
  const temporary = path.join(folder, `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`);
  try {
    await mkdir(folder, { recursive: true });
    await sweep(folder);
    await build(temporary);
    throwIfAborted(ctx.signal, `building ${entry.name}`);
    await rename(temporary, final);
    return final;
  } catch (error) {
    // What a cache that is no folder throws here says less than the first error.
    await removeTree(temporary).catch(() => undefined);
    const code = systemCodeOf(error);
    // Another process was faster. A file replaces a file; a folder refuses.
    if ((code === 'ENOTEMPTY' || code === 'EEXIST') && (await exists(final))) return final;
    throw ioError(`building ${entry.name} in ${folder}`, error);
  }
}

// SPDX-License-Identifier: MIT
/**
 * SHA-256 of whole files. A file of gigabytes takes seconds, so the answer is
 * kept together with what identifies that content of that file: device, inode,
 * size, and the nanoseconds of its last change. Any write makes it stale.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ioError } from '../util/errors.js';

/** Hashes a file's content. */
export async function sha256File(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  try {
    // 1 MiB at a time: fewer turns than the default 64 KiB, and still little memory.
    await pipeline(
      createReadStream(file, { highWaterMark: 1024 * 1024 }),
      hash,
      signal === undefined ? {} : { signal },
    );
  } catch (error) {
    throw ioError(`hashing ${file}`, error);
  }
  return hash.digest('hex');
}

/** As `sha256File`, asking and filling the cache. */
export async function sha256FileCached(file: string, cacheDir: string, signal?: AbortSignal): Promise<string> {
  const identity = await identityOf(file);
  const key = createHash('sha256').update(identity).digest('hex').slice(0, 32);
  const cacheFile = path.join(cacheDir, 'digests', key);
  try {
    const known = (await readFile(cacheFile, 'utf8')).trim();
    if (/^[0-9a-f]{64}$/.test(known)) return known;
  } catch {
    // Not known yet.
  }
  const digest = await sha256File(file, signal);
  // Changed while it was read: the answer belongs to neither content.
  if ((await identityOf(file)) === identity) {
    try {
      await mkdir(path.dirname(cacheFile), { recursive: true });
      const draft = `${cacheFile}.${process.pid}`;
      await writeFile(draft, `${digest}\n`);
      await rename(draft, cacheFile);
    } catch {
      // A cache that can't be written costs time, nothing else.
    }
  }
  return digest;
}

async function identityOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [path.resolve(file), dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch (error) {
    throw ioError(`looking at ${file}`, error);
  }
}

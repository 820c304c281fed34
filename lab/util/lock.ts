// SPDX-License-Identifier: MIT
/** A lock between processes: a file that holds the pid of its owner. */
import { open, readFile, rm } from 'node:fs/promises';
import { pollUntil } from './deadline.js';
import { systemCodeOf } from './errors.js';

/** Zombies live. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}

/** Tries once; the owner's pid if somebody else holds it. Whoever has taken it removes the file in the end. */
export async function tryLock(file: string): Promise<'taken' | number> {
  try {
    const handle = await open(file, 'wx');
    await handle.writeFile(`${process.pid}\n`);
    await handle.close();
    return 'taken';
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
  }
  const owner = Number((await readFile(file, 'utf8').catch(() => '')).trim());
  if (owner > 0 && isAlive(owner)) return owner;
  // An empty file may be one that is being written just now: it is left for the next try.
  if (owner === 0) return owner;
  // Its owner died.
  await rm(file, { force: true });
  return tryLock(file);
}

/** Runs `work` while holding the lock; waits for another process as long as that one lives. */
export async function withLock<T>(
  file: string,
  options: { readonly signal?: AbortSignal; readonly onWait?: (state: string) => void },
  work: () => Promise<T>,
): Promise<T> {
  let owner = 0;
  let emptyTries = 0;
  await pollUntil(
    async () => {
      const got = await tryLock(file);
      if (got === 'taken') return true;
      owner = got;
      // Five seconds without a pid: its writer was killed between two system calls.
      if (owner === 0 && ++emptyTries > 25) await rm(file, { force: true });
      options.onWait?.(`waiting for process ${owner}, which holds ${file}`);
      return undefined;
    },
    {
      label: `the lock ${file}`,
      // A build may take long; it ends, or its process dies.
      timeoutMs: Number.POSITIVE_INFINITY,
      intervalMs: 200,
      signal: options.signal,
      lastSeen: () => `held by process ${owner}`,
    },
  );
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

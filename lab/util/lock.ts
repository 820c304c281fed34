// SPDX-License-Identifier: MIT
/** A lock between processes: a file that holds the pid of its owner, and when that began: numbers are used again. */
import { type FileHandle, open, readFile, rm, stat } from 'node:fs/promises';
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

/** When a process began, in the kernel's ticks since the host did; '': nothing says it. */
async function startOf(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

/** Who holds a lock: undefined if its owner died; 0: it is being made, or was left behind so. */
export async function ownerOf(file: string): Promise<number | undefined> {
  const [pid = '', start] = (await readFile(file, 'utf8').catch(() => '')).trim().split(' ');
  const owner = Number(pid);
  if (owner === 0) return 0;
  const isTheSame = owner > 0 && isAlive(owner) && (start === undefined || start === (await startOf(owner)));
  return isTheSame ? owner : undefined;
}

/** Tries once; the owner's pid if somebody else holds it. Whoever has taken it removes the file in the end. */
export async function tryLock(file: string): Promise<'taken' | number> {
  if (await make(file)) return 'taken';
  const owner = await ownerOf(file);
  if (owner !== undefined && (owner > 0 || !(await isOld(file)))) return owner;
  // Its owner died.
  await rm(file, { force: true });
  return tryLock(file);
}

/** Makes the file with our pid in it; false: there is one. */
async function make(file: string): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'wx');
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false;
    throw error;
  }
  try {
    await handle.writeFile(`${process.pid} ${await startOf(process.pid)}\n`);
    return true;
  } catch (error) {
    // A full disk: an empty lock would be nobody's.
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/** Whoever makes a lock writes its pid into it at once: one that stays empty is of a process that was killed in between. */
const EMPTY_MS = 5000;

async function isOld(file: string): Promise<boolean> {
  const made = await stat(file).catch(() => undefined);
  return made !== undefined && Date.now() - made.mtimeMs > EMPTY_MS;
}

/** Runs `work` while holding the lock; waits for another process as long as that one lives. */
export async function withLock<T>(
  file: string,
  options: { readonly signal?: AbortSignal; readonly onWait?: (state: string) => void },
  work: () => Promise<T>,
): Promise<T> {
  let owner = 0;
  await pollUntil(
    async () => {
      const got = await tryLock(file);
      if (got === 'taken') return true;
      owner = got;
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

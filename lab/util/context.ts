// SPDX-License-Identifier: MIT
/** What every long job is given: nothing is read from globals. */
import { homedir } from 'node:os';
import path from 'node:path';
import type { Log } from './log.js';
import type { Progress } from './progress.js';

export interface LabContext {
  readonly log: Log;
  readonly progress: Progress;
  /** Aborted by the first interrupt; long work stops in order and cleans up. */
  readonly signal: AbortSignal;
  /** Content-addressed kernels, images and tools. */
  readonly cacheDir: string;
  /** What must not get lost: the lab's key, and the heads it has witnessed. */
  readonly dataDir: string;
  /** Holds one folder for each recorded run. */
  readonly runsDir: string;
}

/** Our folder in one of the XDG base directories; the specification ignores a relative one. */
function xdgFolder(given: string | undefined, fallback: string): string {
  const base = given !== undefined && path.isAbsolute(given) ? given : path.join(homedir(), fallback);
  return path.join(base, 'lemona-lab');
}

/** `${XDG_CACHE_HOME:-~/.cache}/lemona-lab`. */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  return xdgFolder(env.XDG_CACHE_HOME, '.cache');
}

/** `${XDG_DATA_HOME:-~/.local/share}/lemona-lab`. */
export function defaultDataDir(env: NodeJS.ProcessEnv = process.env): string {
  return xdgFolder(env.XDG_DATA_HOME, '.local/share');
}

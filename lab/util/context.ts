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
  /** Holds one folder for each recorded run. */
  readonly runsDir: string;
}

/** `${XDG_CACHE_HOME:-~/.cache}/lemona-lab`; the specification ignores a relative XDG_CACHE_HOME. */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  const xdg = env.XDG_CACHE_HOME;
  const base = xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.cache');
  return path.join(base, 'lemona-lab');
}

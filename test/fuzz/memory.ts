// SPDX-License-Identifier: MIT
/** What a process holds once the garbage is gone. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

export interface Memory {
  /** Objects and buffers that are still reachable. */
  readonly liveBytes: number;
  /** Objects alone: buffers may be freed a little later. */
  readonly heapBytes: number;
  readonly rssBytes: number;
}

/**
 * A collection that was under way spares what was made meanwhile, and the buffers that one finds are given back only by the
 * next one.
 */
const COLLECTIONS = 4;

export function memoryNow(): Memory {
  for (let i = 0; i < COLLECTIONS; i++) collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { liveBytes: heapUsed + external, heapBytes: heapUsed, rssBytes: rss };
}

// SPDX-License-Identifier: MIT
/** What a process holds once the garbage is gone. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

export interface Memory {
  /** Objects and buffers that are still reachable. */
  readonly liveBytes: number;
  readonly rssBytes: number;
}

export function memoryNow(): Memory {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { liveBytes: heapUsed + external, rssBytes: rss };
}

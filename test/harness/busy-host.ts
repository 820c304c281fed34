// SPDX-License-Identifier: MIT
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import type { Writable } from 'node:stream';

/**
 * A loop that keeps a core busy until its stdin ends, with this process at the latest. It has a group of its own, and
 * heeds no interrupt: of one the shell would die, and not the loop, which ignores it as all that runs in the background.
 */
export function busyLoop(): ChildProcessByStdio<Writable, null, null> {
  return spawn('sh', ['-c', 'trap "" INT; while :; do :; done & read -r _; kill $!'], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
}

/** Work beside on every core of the host: a guest's CPU stands still for milliseconds then, between any two instructions. */
export async function withBusyHost<T>(work: () => Promise<T>): Promise<T> {
  const others = Array.from({ length: 2 * availableParallelism() }, busyLoop);
  try {
    return await work();
  } finally {
    for (const other of others) other.stdin.end();
  }
}

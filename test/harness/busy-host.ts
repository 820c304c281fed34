// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Work beside on every core of the host: a guest's CPU stands still for milliseconds then, between any two instructions. */
export async function withBusyHost<T>(work: () => Promise<T>): Promise<T> {
  const others = Array.from({ length: 2 * availableParallelism() }, () =>
    // Ends with this process, too: its stdin does.
    spawn('sh', ['-c', 'trap "" INT; while :; do :; done & read -r _; kill $!'], { stdio: ['pipe', 'ignore', 'inherit'] }),
  );
  try {
    return await work();
  } finally {
    for (const other of others) other.stdin.end();
  }
}

// SPDX-License-Identifier: MIT
import { readdir, readFile } from 'node:fs/promises';
import { pollUntil } from '../../lab/util/deadline.js';
import { busyLoop } from '../harness/busy-host.js';

/** Processes of a group that are not dead. */
async function alive(group: number): Promise<number> {
  const stats = (await readdir('/proc'))
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => ''));
  const fields = (await Promise.all(stats)).map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '));
  return fields.filter(([state, , pgrp]) => state !== 'Z' && Number(pgrp) === group).length;
}

describe('a busy host', () => {
  it('is left by its loops when the tests are interrupted', async () => {
    const loop = busyLoop();
    const group = loop.pid ?? 0;
    const until = async (count: number) =>
      pollUntil(async () => (await alive(group)) === count || undefined, {
        label: `${count} alive`,
        timeoutMs: 10_000,
      });
    try {
      await until(2);
      process.kill(-group, 'SIGINT');
      loop.stdin.end();
      await until(0);
    } finally {
      if ((await alive(group)) > 0) process.kill(-group, 'SIGKILL');
    }
  });
});

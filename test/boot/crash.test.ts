// SPDX-License-Identifier: MIT
/** What is taken from the memory of a guest that crashed. More of it: socket.test.ts, categories.test.ts. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { S_IFDIR, S_IFREG, writeCpio } from '../../images/cpio.js';
import { readBusybox } from '../../images/tiny.js';
import { auditRun } from '../../lab/audit/audit.js';
import { openRun } from '../../lab/run/folder.js';
import { eventsOf } from '../../lab/trace/events.js';
import { accountOf, useBench } from '../harness/boot.js';
import { holdersOf } from '../harness/holders.js';

/** Of a guest in which nothing reads the record. */
const INIT = `#!/bin/busybox sh
busybox mount -t proc proc /proc
echo c > /proc/sysrq-trigger
`;

/** More than a guest's end is waited for when its console is quick. */
const LATE_MS = 2_500;

describe('the memory of a guest that crashed', () => {
  const bench = useBench();

  it('has what was recorded before anything could leave it', async () => {
    const initramfs = path.join(bench().folder, 'early.cpio.gz');
    const archive = writeCpio([
      ...['dev', 'proc', 'bin'].map((name) => ({ name, mode: S_IFDIR | 0o755 })),
      { name: 'bin/busybox', mode: S_IFREG | 0o755, data: await readBusybox() },
      { name: 'init', mode: S_IFREG | 0o755, data: Buffer.from(INIT) },
    ]);
    await writeFile(initramfs, gzipSync(archive));
    const error = await bench()
      .record('r', '', { initramfs })
      .catch((thrown: unknown) => thrown);
    expect(error).to.include({ code: 'LAB_GUEST_PANIC' });
    const run = bench().runDir('r');
    const { manifest } = await openRun(run);
    expect(manifest.problems.join('\n')).to.match(/[1-9]\d* sub-buffers \(\d+ bytes\) were recovered/);
    expect(manifest.state).to.equal('torn');
    expect((await auditRun(run)).findings).to.deep.equal([]);
    expect(await holdersOf(path.join(run, 'segments'), ['/proc/sysrq-trigger'])).to.have.length.of.at.least(1);
  });

  for (const [what, end] of [
    ['crashed', 'echo c > /proc/sysrq-trigger'],
    ['was reset', 'reboot -f'],
    ['was turned off', 'poweroff -f'],
  ] as const) {
    it(`has the last words of one that ${what}, and of the console they may come late`, async () => {
      const error = await bench()
        .record('r', `echo 1 > /root/last-words; ${end}`, {
          // Sub-buffers leave only when they are full.
          kernelArgs: ['lemona.flush_ms=1000000'],
          onMachine: ({ console }) => {
            const write = console.write.bind(console);
            console.write = (chunk, done) => {
              globalThis.setTimeout(() => write(chunk), LATE_MS);
              done?.();
            };
          },
        })
        .catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: what === 'crashed' ? 'LAB_GUEST_PANIC' : 'LAB_RUN_TORN' });
      const run = bench().runDir('r');
      const { gaps, missing } = await accountOf(run);
      expect([gaps, missing]).to.deep.equal([[], 0n]);
      const created: string[] = [];
      for await (const { record } of eventsOf(run, { kinds: new Set(['effect']) })) {
        if (record.kind === 'effect' && record.effect.op === 'CREATE') created.push(record.effect.name.toString());
      }
      expect(created).to.include('last-words');
    });
  }
});

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
import { useBench } from '../harness/boot.js';
import { holdersOf } from '../harness/holders.js';

/** Of a guest in which nothing reads the record. */
const INIT = `#!/bin/busybox sh
busybox mount -t proc proc /proc
echo c > /proc/sysrq-trigger
`;

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
});

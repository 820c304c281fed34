// SPDX-License-Identifier: MIT
import path from 'node:path';
import { useBench } from '../harness/boot.js';
import { expectExact } from '../harness/marked.js';
import { sh } from '../harness/sh.js';
import { SUITES } from './suites.js';

/** Of all suites together: at least a hundred. */
const WANTED_MARKS = 10;

/** What `make tinyconfig lib/` reads, out of the archive that Debian's source package installs. */
async function kernelSubtree(folder: string): Promise<string> {
  const tar = path.join(folder, 'kernel.tar');
  const source = path.join(folder, 'source');
  const wanted = [
    ...['Makefile', 'Kbuild', 'Kconfig', '*/Makefile*', '*/Kbuild*', '*/Kconfig*', 'arch/x86'],
    ...['include', 'scripts', 'tools', 'lib', 'kernel', 'mm/*.h'],
  ];
  const names = wanted.map((name) => `linux-source-6.12/${name}`);
  await sh`mkdir ${source}`;
  await sh`tar -C ${source} --strip-components=1 -xf /usr/src/linux-source-6.12.tar.xz --wildcards ${names}`;
  await sh`tar -C ${source} -cf ${tar} .`;
  return tar;
}

describe('suites that try a file system hard, rebuilt exactly at every mark', () => {
  const bench = useBench();

  for (const { name, script, memoryMiB, needsKernelSource } of SUITES) {
    it(name, async () => {
      const copyIn =
        needsKernelSource === true
          ? [{ source: await kernelSubtree(bench().folder), destination: '/root/kernel.tar' }]
          : [];
      await expectExact(bench(), script, WANTED_MARKS, { image: 'suite', memoryMiB: memoryMiB ?? 768, copyIn });
    });
  }
});

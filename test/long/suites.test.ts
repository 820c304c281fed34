// SPDX-License-Identifier: MIT
import path from 'node:path';
import { expect } from 'chai';
import { runTool } from '../../lab/proc/tool.js';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { markedScript } from '../harness/marked.js';
import { SUITES } from './suites.js';

/** Of all suites together: at least a hundred. */
const WANTED_MARKS = 10;

/** What `make tinyconfig lib/` reads, out of the archive that Debian's source package installs. */
async function kernelSubtree(folder: string): Promise<string> {
  const tar = path.join(folder, 'kernel.tar');
  const source = path.join(folder, 'source');
  const wanted = [
    'Makefile',
    'Kbuild',
    'Kconfig',
    'Kconfig.*',
    'arch/x86',
    'include',
    'scripts',
    'tools',
    'lib',
    'kernel',
  ];
  await runTool(['mkdir', source]);
  await runTool([
    ...([
      'tar',
      '-C',
      source,
      '--strip-components=1',
      '-xf',
      '/usr/src/linux-source-6.12.tar.xz',
      '--wildcards',
    ] as const),
    ...[...wanted, '*/Kconfig*'].map((name) => `linux-source-6.12/${name}`),
  ]);
  await runTool(['tar', '-C', source, '-cf', tar, '.']);
  return tar;
}

describe('suites that try a file system hard, rebuilt exactly at every mark', () => {
  const bench = useBench();

  for (const { name, script, memoryMiB, needsKernelSource } of SUITES) {
    it(name, async () => {
      const seed = testSeed();
      const copyIn =
        needsKernelSource === true
          ? [{ source: await kernelSubtree(bench().folder), destination: '/root/kernel.tar' }]
          : [];
      const { manifest, output } = await bench().record('r', markedScript(script, seed, WANTED_MARKS), {
        image: 'suite',
        smp: 2,
        memoryMiB: memoryMiB ?? 768,
        command: ['bash', '/root/test.sh'],
        copyIn,
      });
      expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
      expect(manifest.marks.length).to.be.at.least(WANTED_MARKS);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(describeVerdict(result), `LEMONA_SEED=${seed}`).to.equal('');
      expect(result.isEqual).to.equal(true);
    });
  }
});

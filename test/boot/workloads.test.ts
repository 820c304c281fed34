// SPDX-License-Identifier: MIT
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { runTool } from '../../lab/proc/tool.js';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { markedScript } from '../harness/marked.js';
import { skip } from '../harness/skip.js';
import { WORKLOADS } from './workloads.js';

const WANTED_MARKS = 10;

/** A small package from the host's archive, without installing it. */
async function downloadPackage(folder: string): Promise<string> {
  await runTool(['apt-get', 'download', '-q', 'hello'], { cwd: folder });
  const name = (await readdir(folder)).find((file) => file.endsWith('.deb'));
  if (name === undefined) throw new Error(`apt-get download left no .deb in ${folder}`);
  return path.join(folder, name);
}

describe('real work on two CPUs, rebuilt exactly at every mark', () => {
  const bench = useBench();

  for (const { name, script: work } of WORKLOADS) {
    it(name, async function () {
      const seed = testSeed();
      const copyIn: { source: string; destination: string }[] = [];
      if (work.includes('package.deb')) {
        const deb = await downloadPackage(bench().folder).catch((error: unknown) =>
          skip(this, `no package archive: ${String(error).split('\n')[0]}`),
        );
        copyIn.push({ source: deb, destination: '/root/package.deb' });
      }
      const options = { image: 'debian', smp: 2, copyIn, command: ['bash', '/root/test.sh'] } as const;
      const { manifest, output } = await bench().record('r', markedScript(work, seed, WANTED_MARKS), options);
      expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
      expect(manifest.marks.length).to.be.at.least(WANTED_MARKS);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(describeVerdict(result), `LEMONA_SEED=${seed}`).to.equal('');
      expect(result.isEqual).to.equal(true);
    });
  }
});

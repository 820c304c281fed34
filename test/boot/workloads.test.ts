// SPDX-License-Identifier: MIT
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { useBench } from '../harness/boot.js';
import { expectExact } from '../harness/marked.js';
import { sh } from '../harness/sh.js';
import { skip } from '../harness/skip.js';
import { WORKLOADS } from './workloads.js';

const WANTED_MARKS = 10;

/** A small package from the host's archive, without installing it. */
async function downloadPackage(folder: string): Promise<string> {
  await sh({ cwd: folder })`apt-get download -q hello`;
  const name = (await readdir(folder)).find((file) => file.endsWith('.deb'));
  if (name === undefined) throw new Error(`apt-get download left no .deb in ${folder}`);
  return path.join(folder, name);
}

describe('real work on two CPUs, rebuilt exactly at every mark', () => {
  const bench = useBench();

  for (const { name, script: work } of WORKLOADS) {
    it(name, async function () {
      const copyIn: { source: string; destination: string }[] = [];
      if (work.includes('package.deb')) {
        const deb = await downloadPackage(bench().folder).catch((error: unknown) =>
          skip(this, `no package archive: ${String(error).split('\n')[0]}`),
        );
        copyIn.push({ source: deb, destination: '/root/package.deb' });
      }
      await expectExact(bench(), work, WANTED_MARKS, { image: 'debian', copyIn });
    });
  }
});

// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { ext4Env } from '../../images/ext4.js';
import { defaultCacheDir } from '../../lab/util/context.js';
import { stderrLog } from '../../lab/util/log.js';
import { silentProgress } from '../../lab/util/progress.js';
import { FIELDS } from '../../replay/verify/lines.js';
import { buildManifestTool } from '../../replay/verify/tool.js';
import { sh } from '../harness/sh.js';

/** All that FS_IOC_SETFLAGS sets on a regular file, but EXTENTS. */
const SETTABLE = 0x0240_c0ff;
/** INDEX, EXTENTS and HUGE_FILE. */
const LAYOUT = 0x000c_1000;

describe('lemona-manifest', () => {
  it('prints each flag that chattr sets, and none of the layout', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'lemona-manifest-'));
    try {
      const [tree, image] = [path.join(folder, 'tree'), path.join(folder, 'image')];
      await mkdir(tree);
      await writeFile(path.join(tree, 'file'), 'content');
      const env = ext4Env();
      const tool = sh({ env });
      await tool`mke2fs -q -t ext4 -d ${tree} ${image} 2M`;
      await tool`debugfs -w -R ${`sif file flags ${SETTABLE | LAYOUT}`} ${image}`;
      const { signal } = new AbortController();
      const ctx = { log: stderrLog('warn'), progress: silentProgress, signal, cacheDir: defaultCacheDir() };
      const manifest = (await sh`${await buildManifestTool(ctx)} ${image}`).stdout;
      const fields =
        manifest
          .split('\n')
          .find((line) => line.startsWith('/file\t'))
          ?.split('\t') ?? [];
      expect(fields[FIELDS.indexOf('flags') + 1]).to.equal(SETTABLE.toString(16).padStart(8, '0'));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

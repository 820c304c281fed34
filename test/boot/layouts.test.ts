// SPDX-License-Identifier: MIT
/** A rebuilt disk is a sound ext4, whatever it is laid out like: the replay VM's kernel sums its blocks in its own way. */
import path from 'node:path';
import { expect } from 'chai';
import { MANY_EFFECTS } from '../../lab/bench/replay.js';
import { replayVm } from '../../lab/parts/parts.js';
import { reconstruct } from '../../replay/reconstruct.js';
import { useBench } from '../harness/boot.js';
import {
  BLOCK_MAPS,
  CHANGEABLE,
  CLUSTERS,
  EA_INODES,
  INLINE_DATA,
  laidOut,
  NO_JOURNAL,
  PROJECTS_AND_QUOTAS,
  SMALL_BLOCKS,
  SMALL_GROUPS,
  SMALL_INODES,
  withFeatures,
} from '../harness/features.js';
import { sh } from '../harness/sh.js';

/** Of many-effects, in 40 folders. */
const ROUNDS = 300;
/** Long names in one folder, which gets an index of several blocks, twice: the second time in blocks that were freed. */
const INDEXED = `
names() { n=0; while [ $n -lt 400 ]; do : > $1/$(printf '%0200d' $n); n=$((n + 1)); done; }
mkdir c; names c; sync; rm -r c; mkdir d e; names d; sync; names e
( cd d; for n in *[05]; do mv $n ../e/moved-$n; done )`;

describe('a rebuilt disk', () => {
  const bench = useBench();

  for (const [what, tune] of Object.entries({
    'as ours are': laidOut({}),
    'with blocks of 1 KiB': laidOut(SMALL_BLOCKS),
    'with clusters': laidOut(CLUSTERS),
    'with many groups, and small descriptors of them': laidOut(SMALL_GROUPS),
    'with content in inodes': laidOut(INLINE_DATA),
    'with block maps': laidOut(BLOCK_MAPS),
    'with inodes of 128 bytes': laidOut(SMALL_INODES),
    'with inodes of 1 KiB': laidOut({ args: ['-I', '1024'] }),
    'without a journal': laidOut(NO_JOURNAL),
    'with a fast journal': laidOut({ features: ['fast_commit'] }),
    'without checksums': laidOut(CHANGEABLE),
    'with values in inodes of their own': withFeatures(EA_INODES),
    'with quotas': withFeatures(PROJECTS_AND_QUOTAS),
  }))
    it(`${what} passes e2fsck, half-way and at the end`, async () => {
      const { folder, ctx } = bench();
      const program = path.join(folder, 'many-effects');
      await sh`gcc -static -O1 -o ${program} ${MANY_EFFECTS}`;
      const half = `./many-effects a 1 ${ROUNDS}${INDEXED}\nlemona-mark half`;
      const script = `cd /root; chmod +x many-effects; ${half}; ./many-effects b 2 ${ROUNDS}; rm -r a d e`;
      const { manifest, output } = await bench().record('r', script, {
        tune,
        copyIn: [{ source: program, destination: '/root/many-effects' }],
      });
      expect(manifest.exitStatus, output).to.equal(0);
      const runDir = bench().runDir('r');
      const vm = await replayVm(runDir, ctx);
      for (const at of ['mark:half', 'end']) {
        const image = path.join(folder, 'rebuilt.raw');
        const result = await reconstruct({ runDir, at, output: image, format: 'raw', vm: async () => vm }, ctx);
        expect(result.isVouchedFor, at).to.equal(true);
        await sh`e2fsck -fn ${image}`;
      }
    });
});

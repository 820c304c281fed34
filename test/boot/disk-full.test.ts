// SPDX-License-Identifier: MIT
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { isSound } from '../../lab/cli/verbs/stats.js';
import { replayVm } from '../../lab/parts/parts.js';
import { openRun } from '../../lab/run/folder.js';
import { statsOf } from '../../lab/trace/stats.js';
import { LabError } from '../../lab/util/errors.js';
import { reconstruct } from '../../replay/reconstruct.js';
import { qemusOf, useBench } from '../harness/boot.js';
import { lemona } from '../harness/command.js';
import { sh } from '../harness/sh.js';
import { skip } from '../harness/skip.js';

/** More than the small disks of these tests hold, in pieces that have names. */
const FILLER =
  'mkdir /root/f; for i in $(seq 60); do dd if=/dev/urandom of=/root/f/$i bs=64k count=16 2>/dev/null; done';

/** A disk of that size at a folder; its root may do that, in some containers not even that. */
async function mountSmall(folder: string, sizeMiB: number): Promise<void> {
  await sh`mount -t tmpfs -o size=${sizeMiB}m tmpfs ${folder}`;
}

describe("a host's disk that runs full while a guest is recorded", () => {
  const bench = useBench();

  /** What is there is sound, and is rebuilt to its last event without a gap: one CPU sends in order. */
  async function demandUsable(runDir: string): Promise<void> {
    const { manifest } = await openRun(runDir);
    expect(manifest.state).to.equal('torn');
    expect(manifest.problems.join('\n')).to.match(/no space left/);
    const stats = await statsOf(runDir);
    expect(stats.account.effects > 0n).to.equal(true);
    expect([stats.account.dropped, stats.account.gaps.length, isSound(stats)]).to.deep.equal([0n, 0, true]);
    const vm = await replayVm(runDir, bench().ctx);
    const output = path.join(bench().folder, 'last.raw');
    const rebuilt = await reconstruct({ runDir, at: 'end', output, format: 'raw', vm: async () => vm }, bench().ctx);
    expect([rebuilt.seq, rebuilt.isVouchedFor]).to.deep.equal([stats.account.seqLast, true]);
    await sh`e2fsck -fn ${output}`;
  }

  it('ends the run when no segment can grow, and what arrived is rebuilt to its last event', async function () {
    const runDir = bench().runDir('r');
    const segments = path.join(runDir, 'segments');
    let isMounted = false;
    try {
      const error: unknown = await bench()
        .record('r', FILLER, {
          onMachine: async () => {
            await mountSmall(segments, 8).catch((reason: unknown) =>
              skip(this, `no tmpfs can be mounted: ${String(reason).split('\n')[0]}`),
            );
            isMounted = true;
          },
        })
        .catch((thrown: unknown) => thrown);
      if (!isMounted) throw error;
      expect(error).to.be.instanceOf(LabError);
      expect(error).to.include({ code: 'LAB_ENV_DISK_FULL', exitStatus: 3 });
      expect((error as LabError).message).to.match(/segments\/000000\.seg: no space left on the host's disk/);
      expect(await qemusOf(bench().folder)).to.deep.equal([]);
      await demandUsable(runDir);
    } finally {
      if (isMounted) await sh`umount ${segments}`;
    }
  });

  it('is told on the command line with status 3, and run.json still says how far it came', async function () {
    const runs = path.join(bench().folder, 'small');
    await mkdir(runs);
    await mountSmall(runs, 24).catch((reason: unknown) =>
      skip(this, `no tmpfs can be mounted: ${String(reason).split('\n')[0]}`),
    );
    try {
      const args = ['record', '--runs', runs, '--run', 'r', '--image', 'tiny', '--', 'sh', '-c', FILLER];
      const { status, stderr } = await lemona(args, bench().folder);
      expect(status, stderr).to.equal(3);
      expect(stderr)
        .to.match(/no space left on the host's disk/)
        .and.to.match(/^next: free some space/m);
      const manifest = JSON.parse(await readFile(path.join(runs, 'r/run.json'), 'utf8')) as {
        trace: { bytes: number };
      };
      expect(manifest.trace.bytes).to.be.greaterThan(0);
      await demandUsable(path.join(runs, 'r'));
    } finally {
      await sh`umount ${runs}`;
    }
  });
});

// SPDX-License-Identifier: MIT
/** The debug flavour: KASAN, lockdep, the check for sleep and warnings are seen to speak, then to be silent about the driver. */
import { expect } from 'chai';
import { runFolderAt } from '../../lab/run/folder.js';
import { readManifest } from '../../lab/run/manifest.js';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';

/** Emulated, with all checkers, a guest is some ten times as slow. */
const TIMEOUT_MS = 3_000_000;

const provoke = (fault: string) => `
mount -t debugfs debugfs /sys/kernel/debug
echo ${fault} > /sys/kernel/debug/provoke-crash/DIRECT
sleep 2
`;

/** Faults that LKDTM commits, and the kinds of the reports that have to come. */
const FAULTS: readonly { readonly fault: string; readonly kinds: readonly string[] }[] = [
  { fault: 'READ_AFTER_FREE', kinds: ['KASAN'] },
  { fault: 'SLAB_LINEAR_OVERFLOW', kinds: ['KASAN'] },
  // It returns with the lock held: to lockdep, and to who wants to sleep.
  { fault: 'SPINLOCKUP', kinds: ['lockdep', 'sleep in atomic context'] },
  { fault: 'WARNING', kinds: ['warning'] },
];

const script = (seed: number) => `
chmod +x /root/exerciser
/root/exerciser /root/play 3 100 ${seed}
status=$?
lemona-mark end
exit $status
`;

describe('a kernel that checks itself', () => {
  const bench = useBench();

  for (const { fault, kinds } of FAULTS) {
    it(`reports a fault that was committed: ${fault}`, async function () {
      this.timeout(TIMEOUT_MS);
      // Most faults are the end of the guest, and of `record`.
      await bench()
        .record('r', provoke(fault), { isDebug: true, memoryMiB: 1024 })
        .catch((error: unknown) => expect(String(error)).to.match(/guest/));
      const manifest = await readManifest(runFolderAt(bench().runDir('r')).manifestFile);
      expect(manifest?.kernelReports?.map(({ kind }) => kind)).to.include.members([...kinds]);
    });
  }

  it('has nothing to report when the exerciser races on two CPUs, and the disk is rebuilt exactly', async function () {
    this.timeout(TIMEOUT_MS);
    const seed = testSeed();
    const { manifest, output } = await bench().record('r', script(seed), {
      isDebug: true,
      smp: 2,
      memoryMiB: 1024,
      copyIn: [{ source: await guestProgram('exerciser', bench().folder), destination: '/root/exerciser' }],
    });
    expect(manifest.kernelReports, output).to.deep.equal([]);
    expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
    const result = await bench().verify('r');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
  });
});

// SPDX-License-Identifier: MIT
/** The debug flavour: KASAN, lockdep, the check for sleep and warnings are seen to speak, then to be silent about the driver. */
import { expect } from 'chai';
import { buildKernel } from '../../guest-kernel/build.js';
import { runFolderAt } from '../../lab/run/folder.js';
import { readManifest } from '../../lab/run/manifest.js';
import { accountOf, describeVerdict, type GuestOptions, testSeed, useBench } from '../harness/boot.js';
import { loadAndUnload, loadWithFailures } from '../harness/load-cycles.js';
import { guestProgram } from '../harness/program.js';

/** Emulated, with all checkers, a guest is some ten times as slow. */
const TIMEOUT_MS = 3_000_000;

const provoke = (fault: string) => `
mount -t debugfs debugfs /sys/kernel/debug
echo ${fault} > /sys/kernel/debug/provoke-crash/DIRECT
sleep 2
`;

/** Faults that LKDTM commits, and the kinds of the reports that have to come. */
const FAULTS: readonly { readonly fault: string; readonly kinds: readonly string[]; readonly says?: RegExp }[] = [
  { fault: 'READ_AFTER_FREE', kinds: ['KASAN'] },
  { fault: 'SLAB_LINEAR_OVERFLOW', kinds: ['KASAN'] },
  // It returns with the lock held: to lockdep, and to who wants to sleep.
  { fault: 'SPINLOCKUP', kinds: ['lockdep', 'sleep in atomic context'] },
  { fault: 'WARNING', kinds: ['warning'] },
  { fault: 'CORRUPT_LIST_ADD', kinds: ['warning'], says: /__list_add_valid_or_report/ },
];

/** Work under which nothing may be reported. */
interface Trial {
  readonly name: string;
  readonly script: (seed: number) => string;
  readonly options?: GuestOptions;
}

const exerciser = (seed: number) => `chmod +x /root/exerciser; /root/exerciser /root/play 3 100 ${seed}`;

const TRIALS: readonly Trial[] = [
  { name: 'the exerciser races on two CPUs', script: exerciser },
  {
    name: 'memory runs short beside it',
    // Whoever takes and gives back all memory that is free makes others' pages go: `big` has to be read anew each time.
    script: (seed) => `
dd if=/dev/urandom of=/root/big bs=1M count=40 2>/dev/null
mkdir /run/hog; mount -t tmpfs -o size=100% none /run/hog
( while [ ! -e /run/stop ]; do
    dd if=/dev/zero of=/run/hog/a bs=1M count=$(($(free -m | awk '/^Mem/ { print $7 }') - 16))
    cat /root/big >/dev/null; rm /run/hog/a; sleep 1
  done ) 2>/dev/null &
${exerciser(seed)}
status=$?; touch /run/stop; wait
[ $(awk '/^workingset_refault_file / { print $2 }' /proc/vmstat) -gt 1000 ] || { echo "memory was never short"; status=1; }
(exit $status)`,
    options: { memoryMiB: 640, kernelArgs: ['lemona.pool_mb=2'] },
  },
  {
    name: 'stress-ng races on two CPUs',
    script: (seed) =>
      `mkdir /root/s; cd /root/s; stress-ng --temp-path . --seed ${seed} --timeout 60s --hdd 1 --hdd-bytes 4m --mmap 1 ` +
      '--mmap-bytes 4m --mmap-file --io-uring 1 --dentry 1 --rename 1 --xattr 1 --fallocate 1 --fallocate-bytes 4m',
    options: { image: 'suite' },
  },
];

const marked = (script: string) => `
${script}
status=$?
lemona-mark done
exit $status
`;

/** Capabilities of fault injection: each makes allocations fail, so many of a hundred. */
const FAILING = [
  { capability: 'failslab', percent: 1 },
  // There are fewer of them.
  { capability: 'fail_page_alloc', percent: 5 },
] as const;
const ROUNDS = 24;
/** How often the driver comes and goes. */
const CYCLES = 20;
const FAILURES_WANTED = 50;

/**
 * Allocations of the exerciser fail, and of what the kernel and the driver do for it. It may end early by that; then the
 * next one begins. The kernel tells of some of them, and counts the rest.
 */
const failing = (capability: string, percent: number, seed: number) => `
chmod +x /root/exerciser
mount -t debugfs debugfs /sys/kernel/debug
cd /sys/kernel/debug/${capability}
echo Y > task-filter; echo N > ignore-gfp-wait; echo ${percent} > probability; echo -1 > times; echo 1 > verbose
[ ! -e min-order ] || { echo 0 > min-order; echo N > ignore-gfp-highmem; }
cd /root
for n in $(seq ${ROUNDS}); do
  sh -c 'echo 1 > /proc/self/make-it-fail; exec /root/exerciser /root/play-'$n' 2 100 '$((${seed} + n))
  echo "round $n: $?"
done
echo 0 > /sys/kernel/debug/${capability}/probability
lemona-mark done
dmesg | sed -n -e 's/.*FAULT_INJECTION: forcing a failure.*/forced/p' -e 's/.*: \\([0-9]*\\) callbacks suppressed.*/more \\1/p'
`;

/** How many allocations failed, of what the guest printed. */
function failuresIn(output: string): number {
  const more = [...output.matchAll(/^more (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  return more + [...output.matchAll(/^forced$/gm)].length;
}

describe('a kernel that checks itself', () => {
  const bench = useBench();

  for (const { fault, kinds, says = /./ } of FAULTS) {
    it(`reports a fault that was committed: ${fault}`, async function () {
      this.timeout(TIMEOUT_MS);
      // Most faults are the end of the guest, and of `record`.
      await bench()
        .record('r', provoke(fault), { isDebug: true, memoryMiB: 1024 })
        .catch((error: unknown) => expect(String(error)).to.match(/guest/));
      const manifest = await readManifest(runFolderAt(bench().runDir('r')).manifestFile);
      expect(manifest?.kernelReports?.map(({ kind }) => kind)).to.include.members([...kinds]);
      expect(manifest?.kernelReports?.map(({ text }) => text).join('\n')).to.match(says);
    });
  }

  it('reports memory that was forgotten', async function () {
    this.timeout(TIMEOUT_MS);
    const { leak } = await buildKernel('debug-m', bench().ctx);
    if (leak === null) throw new Error('the kernel has no module that forgets memory');
    const { manifest, output } = await bench().record('r', 'insmod /root/leak.ko', {
      ...{ config: 'module-relay', isDebug: true, memoryMiB: 1024 },
      copyIn: [{ source: leak, destination: '/root/leak.ko' }],
    });
    const leaks = manifest.kernelReports?.filter(({ kind }) => kind === 'leak') ?? [];
    expect(leaks.map(({ text }) => text).join('\n'), output).to.match(/kmemleak_test/);
  });

  it(`has nothing to report when the driver is loaded and unloaded ${CYCLES} times`, async function () {
    this.timeout(TIMEOUT_MS);
    const { module } = await buildKernel('debug-m', bench().ctx);
    await loadAndUnload(bench(), { module, cycles: CYCLES, timeoutMs: TIMEOUT_MS, isDebug: true });
  });

  for (const parameters of ['pool_mb=1 subbuf_kb=96', 'pool_mb=1 server=192.0.2.1:4270 machine=m selftest=1']) {
    it(`has nothing to report when each allocation of the driver's loading fails once, with ${parameters}`, async function () {
      this.timeout(TIMEOUT_MS);
      const { module } = await buildKernel('debug-m', bench().ctx);
      await loadWithFailures(bench(), { module, parameters, timeoutMs: TIMEOUT_MS });
    });
  }

  for (const { name, script, options } of TRIALS) {
    it(`has nothing to report when ${name}, and the disk is rebuilt exactly`, async function () {
      this.timeout(TIMEOUT_MS);
      const seed = testSeed();
      const { manifest, output } = await bench().record('r', marked(script(seed)), {
        isDebug: true,
        smp: 2,
        memoryMiB: 1024,
        copyIn: [{ source: await guestProgram('exerciser', bench().folder), destination: '/root/exerciser' }],
        ...options,
      });
      expect(manifest.kernelReports, output).to.deep.equal([]);
      expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(describeVerdict(result)).to.equal('');
      expect(result.isEqual).to.equal(true);
    });
  }

  for (const { capability, percent } of FAILING) {
    it(`has nothing to report when allocations fail, by ${capability}, and the record names what came of it`, async function () {
      this.timeout(TIMEOUT_MS);
      const seed = testSeed();
      const { manifest, output } = await bench().record('r', failing(capability, percent, seed), {
        isDebug: true,
        smp: 2,
        memoryMiB: 1024,
        copyIn: [{ source: await guestProgram('exerciser', bench().folder), destination: '/root/exerciser' }],
      });
      const context = `LEMONA_SEED=${seed}: ${output}`;
      process.stderr.write(
        `      ${failuresIn(output)} allocations failed; ${output.match(/^round .*$/gm)?.join(', ')}\n`,
      );
      // It wants memory itself, and says so when it gets none.
      const reports = manifest.kernelReports?.filter(({ text }) => !text.includes('kmemleak: Cannot allocate'));
      expect(reports, context).to.deep.equal([]);
      expect(manifest.exitStatus, context).to.equal(0);
      expect(failuresIn(output), context).to.be.at.least(FAILURES_WANTED);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r');
      // What the file system itself could not finish is named by the record, and only then the rebuilt disk may differ.
      const taints = result.replay.taints.map(({ text }) => text);
      process.stderr.write(`      ${result.differences} differences, ${taints.length} taints\n`);
      for (const text of taints) expect(text).to.match(/found an error|failed half-way|not be written back/);
      if (taints.length === 0) expect(describeVerdict(result)).to.equal('');
    });
  }
});

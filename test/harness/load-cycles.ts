// SPDX-License-Identifier: MIT
/** The driver comes and goes, again and again, while two CPUs are kept busy with what it records. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { ASK_CHECKERS, answersOf, CHECKERS_KERNEL_ARGS } from '../../lab/run/checkers.js';
import { type Bench, testSeed } from './boot.js';
import { type BareGuest, bootBareGuest } from './guest.js';
import { guestProgram } from './program.js';

/**
 * Sub-buffers are the driver's memory, and come from vmalloc: what a cycle forgets is at least 96 KiB of it. Free memory
 * as a whole says less, since the file system keeps more or less of what the exerciser did.
 */
const FORGOTTEN_KIB = 96;
/** Stacks of tasks that are there or not; 64 KiB were seen. */
const NOISE_KIB = 512;

/** Two CPUs are kept busy while the driver comes and goes; memory is measured when all is over. */
const script = (cycles: number, seed: number) => `
cd /root
vmalloc_kib() { awk '/^VmallocUsed:/ { print $2 }' /proc/meminfo; }
work() {
  # The exerciser leaves immutable files behind: the folder stays.
  mkdir play-$1
  ( n=${seed}; while [ ! -e stop ]; do ./exerciser /root/play-$1 2 100 $n || echo "exerciser: $?"; n=$((n + 1)); done ) &
  ./calls one & one=$!
  ./calls two & two=$!
  ./load-unload lemona.ko $1 ${seed}; status=$?
  touch stop
  kill $one $two
  wait
  rm -r one two stop
}
work 3 && [ $status -eq 0 ] || exit 3
before=$(vmalloc_kib)
work ${cycles}
echo "vmalloc: $before KiB before, $(vmalloc_kib) KiB after"
exit $status
`;

export interface LoadCycles {
  /** Path of the driver: of flavour m, or of debug-m. */
  readonly module: string | null;
  readonly cycles: number;
  readonly timeoutMs: number;
  /** With all checkers, which are asked in the end. */
  readonly isDebug: boolean;
}

/** The module is none of the kernel's own: that much taint is no report. */
const OUT_OF_TREE = /^the kernel is tainted: 4096$/;
/** Linux forgets the name of a cache of memory that it cannot show in sysfs. */
const FORGOTTEN_NAME = /^unreferenced object.*\bsysfs_slab_add\+/s;

/** A guest that has the driver as a file, and these programs, all in /root; fails if its kernel finds fault with the work. */
async function withLoadable(
  bench: Bench,
  options: Pick<LoadCycles, 'module' | 'isDebug'> & {
    readonly smp: number;
    readonly programs: readonly string[];
    /** Reports that are not the driver's. */
    readonly known: readonly RegExp[];
  },
  work: (guest: BareGuest) => Promise<void>,
): Promise<void> {
  const { module, isDebug, smp, programs, known } = options;
  const { ctx, folder } = bench;
  if (module === null) throw new Error('the kernel has no module');
  const guest = await bootBareGuest(
    folder,
    {
      ...{ config: 'module-unloaded', smp, patchesRunningCode: true, isDebug },
      memoryMiB: isDebug ? 1024 : 512,
      kernelArgs: CHECKERS_KERNEL_ARGS,
    },
    ctx,
  );
  try {
    await guest.copyIn(module, '/root/lemona.ko');
    for (const name of programs) await guest.copyIn(await guestProgram(name, folder), `/root/${name}`);
    await work(guest);
    const { output, status } = isDebug ? await guest.run(ASK_CHECKERS[2]) : { output: '', status: 0 };
    const reports = answersOf(output, status).map(({ text }) => text);
    expect(reports.filter((text) => !known.some((pattern) => pattern.test(text)))).to.deep.equal([]);
  } finally {
    await guest.machine.quit();
  }
  const said = await readFile(path.join(folder, 'guest/console.log'), 'latin1');
  expect(said).not.to.match(/Oops|WARNING|BUG|INFO: |refcount/);
}

/** Fails if the kernel finds fault with anything, or memory is missing in the end. */
export async function loadAndUnload(bench: Bench, options: LoadCycles): Promise<void> {
  const { cycles, timeoutMs } = options;
  const seed = testSeed();
  const programs = ['load-unload', 'exerciser', 'calls'];
  await withLoadable(bench, { ...options, smp: 2, programs, known: [OUT_OF_TREE] }, async (guest) => {
    const { status, output } = await guest.run(script(cycles, seed), timeoutMs);
    expect(status, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
    expect(output).to.match(new RegExp(`^cycles ${cycles}, refused ${cycles + Math.floor(cycles / 2)}, `, 'm'));
    const [, before, after] = /vmalloc: (\d+) KiB before, (\d+) KiB after/.exec(output) ?? [];
    expect(Number(after) - Number(before), output).to.be.lessThan(Math.min(NOISE_KIB, FORGOTTEN_KIB * cycles));
    expect(Number(before), output).to.be.greaterThan(0);
    process.stderr.write(`    ${output.split('\n').at(-2) ?? ''}\n`);
  });
}

/** Every kind of allocation may fail, also one that could wait for memory. */
const loadFailing = (parameters: string) => `
mount -t debugfs debugfs /sys/kernel/debug
cd /sys/kernel/debug
for one in failslab fail_page_alloc; do echo N > $one/ignore-gfp-wait; echo 0 > $one/verbose; done
echo 0 > fail_page_alloc/min-order; echo N > fail_page_alloc/ignore-gfp-highmem
cd /root
./load-failing lemona.ko '${parameters}'
`;

/** Loads a driver of debug-m so often that each allocation of its loading fails once; fails as loadAndUnload() does. */
export async function loadWithFailures(
  bench: Bench,
  options: Pick<LoadCycles, 'module' | 'timeoutMs'> & { readonly parameters: string },
): Promise<void> {
  const { module, timeoutMs, parameters } = options;
  const known = [OUT_OF_TREE, FORGOTTEN_NAME];
  await withLoadable(bench, { module, isDebug: true, smp: 1, programs: ['load-failing'], known }, async (guest) => {
    const { status, output } = await guest.run(loadFailing(parameters), timeoutMs);
    expect(status, output).to.equal(0);
    const [, allocations, ended] = /^allocations (\d+): (\d+) ended the loading, /m.exec(output) ?? [];
    // It has those of the kernel's own for a module, and some of the driver's.
    expect(Number(allocations), output).to.be.greaterThan(100);
    expect(Number(ended), output).to.be.greaterThan(50);
    process.stderr.write(`      ${output.trimEnd()}\n`);
  });
}

// SPDX-License-Identifier: MIT
/** The driver comes and goes, again and again, while two CPUs are kept busy with what it records. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { ASK_CHECKERS, CHECKERS_KERNEL_ARGS } from '../../lab/run/checkers.js';
import { type Bench, testSeed } from './boot.js';
import { bootBareGuest } from './guest.js';
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

/** Fails if the kernel finds fault with anything, or memory is missing in the end. */
export async function loadAndUnload(bench: Bench, options: LoadCycles): Promise<void> {
  const { module, cycles, timeoutMs, isDebug } = options;
  const seed = testSeed();
  const { ctx, folder } = bench;
  if (module === null) throw new Error('the kernel has no module');
  const guest = await bootBareGuest(
    folder,
    {
      ...{ config: 'module-unloaded', smp: 2, patchesRunningCode: true, isDebug },
      memoryMiB: isDebug ? 1024 : 512,
      kernelArgs: CHECKERS_KERNEL_ARGS,
    },
    ctx,
  );
  try {
    await guest.copyIn(module, '/root/lemona.ko');
    for (const name of ['load-unload', 'exerciser', 'calls']) {
      await guest.copyIn(await guestProgram(name, folder), `/root/${name}`);
    }
    const { status, output } = await guest.run(script(cycles, seed), timeoutMs);
    expect(status, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
    expect(output).to.match(new RegExp(`^cycles ${cycles}, refused ${cycles + Math.floor(cycles / 2)}, `, 'm'));
    const [, before, after] = /vmalloc: (\d+) KiB before, (\d+) KiB after/.exec(output) ?? [];
    expect(Number(after) - Number(before), output).to.be.lessThan(Math.min(NOISE_KIB, FORGOTTEN_KIB * cycles));
    expect(Number(before), output).to.be.greaterThan(0);
    process.stderr.write(`    ${output.split('\n').at(-2) ?? ''}\n`);
    // The module is none of the kernel's own: that much taint is no report.
    if (isDebug) expect((await guest.run(ASK_CHECKERS[2])).output).to.match(/^(the kernel is tainted: 4096\n)?$/);
  } finally {
    await guest.machine.quit();
  }
  const said = await readFile(path.join(folder, 'guest/console.log'), 'latin1');
  expect(said).not.to.match(/Oops|WARNING|BUG|INFO: |refcount/);
}

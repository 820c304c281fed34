// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { buildKernel } from '../../guest-kernel/build.js';
import { testSeed, useBench } from '../harness/boot.js';
import { bootBareGuest } from '../harness/guest.js';
import { guestProgram } from '../harness/program.js';

/** LEMONA_CYCLES asks for more than a test run should take. */
const CYCLES = Number(process.env.LEMONA_CYCLES ?? 60);
/** One cycle takes about a second where the machine is emulated and shared. */
const TIMEOUT_MS = Math.max(1_200_000, CYCLES * 10_000);

/**
 * Sub-buffers are the driver's memory, and come from vmalloc: what a cycle forgets is at least 96 KiB of it. Free memory
 * as a whole says less, since the file system keeps more or less of what the exerciser did.
 */
const FORGOTTEN_KIB = 96;
/** Stacks of tasks that are there or not; 64 KiB were seen. */
const NOISE_KIB = 512;

/** Two CPUs are kept busy while the driver comes and goes; memory is measured when all is over. */
const script = (seed: number) => `
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
work ${CYCLES}
echo "vmalloc: $before KiB before, $(vmalloc_kib) KiB after"
exit $status
`;

describe('the driver as a module', () => {
  const bench = useBench();

  it(`is loaded and unloaded ${CYCLES} times under load on two CPUs, with readers that are killed`, async function () {
    this.timeout(TIMEOUT_MS);
    const seed = testSeed();
    const { ctx, folder } = bench();
    const { module } = await buildKernel('m', ctx);
    if (module === null) throw new Error('the kernel of flavour m has no module');
    const guest = await bootBareGuest(
      folder,
      {
        config: 'module-unloaded',
        smp: 2,
        patchesRunningCode: true,
        // Warnings are printed, and end the guest.
        kernelArgs: ['loglevel=5', 'panic_on_warn=1'],
      },
      ctx,
    );
    try {
      await guest.copyIn(module, '/root/lemona.ko');
      for (const name of ['load-unload', 'exerciser', 'calls']) {
        await guest.copyIn(await guestProgram(name, folder), `/root/${name}`);
      }
      const { status, output } = await guest.run(script(seed), TIMEOUT_MS);
      expect(status, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
      expect(output).to.match(new RegExp(`^cycles ${CYCLES}, refused ${CYCLES + Math.floor(CYCLES / 2)}, `, 'm'));
      const [, before, after] = /vmalloc: (\d+) KiB before, (\d+) KiB after/.exec(output) ?? [];
      expect(Number(after) - Number(before), output).to.be.lessThan(Math.min(NOISE_KIB, FORGOTTEN_KIB * CYCLES));
      expect(Number(before), output).to.be.greaterThan(0);
      process.stderr.write(`    ${output.split('\n').at(-2) ?? ''}\n`);
    } finally {
      await guest.machine.quit();
    }
    const said = await readFile(path.join(folder, 'guest/console.log'), 'latin1');
    expect(said).not.to.match(/Oops|WARNING|BUG|INFO: |refcount/);
  });
});

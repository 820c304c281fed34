// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { buildKernel } from '../../guest-kernel/build.js';
import { useBench } from '../harness/boot.js';
import { bootBareGuest, bootWithModule } from '../harness/guest.js';
import { loadAndUnload } from '../harness/load-cycles.js';
import { guestProgram } from '../harness/program.js';

/** LEMONA_CYCLES asks for more than a test run should take. */
const CYCLES = Number(process.env.LEMONA_CYCLES ?? 60);
/** One cycle takes about a second where the machine is emulated and shared. */
const TIMEOUT_MS = Math.max(1_200_000, CYCLES * 10_000);

describe('the driver as a module', () => {
  const bench = useBench();

  it(`is loaded and unloaded ${CYCLES} times under load on two CPUs, with readers that are killed`, async function () {
    this.timeout(TIMEOUT_MS);
    const { module } = await buildKernel('m', bench().ctx);
    await loadAndUnload(bench(), { module, cycles: CYCLES, timeoutMs: TIMEOUT_MS, isDebug: false });
  });

  it('gives a reader whose read failed the same sub-buffer again', async () => {
    const { folder, ctx } = bench();
    const guest = await bootWithModule(folder, await buildKernel('m', ctx), ctx);
    try {
      await guest.copyIn(await guestProgram('read-again', folder), '/root/read-again');
      const { status, output } = await guest.run('cd /root; chmod +x read-again; insmod lemona.ko && ./read-again');
      expect([status, output]).to.deep.equal([0, 'numbers 0 to 3\n']);
    } finally {
      await guest.machine.quit();
    }
  });
});

describe('the driver built in', () => {
  const bench = useBench();

  it('is not there where it could not be set up', async () => {
    const kernelArgs = ['lemona.relay=0', 'lemona.server=192.0.2.7:4270', 'lemona.machine=Web1'];
    const guest = await bootBareGuest(bench().folder, { config: 'static-relay', kernelArgs }, bench().ctx);
    try {
      const { output } = await guest.run('dmesg | grep lemona; [ -e /dev/lemona ] || echo no device');
      expect(output).to.match(/there must be machine=NAME/);
      expect(output).to.match(/^no device$/m);
    } finally {
      await guest.machine.quit();
    }
  });
});

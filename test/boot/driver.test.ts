// SPDX-License-Identifier: MIT
import { buildKernel } from '../../guest-kernel/build.js';
import { useBench } from '../harness/boot.js';
import { loadAndUnload } from '../harness/load-cycles.js';

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
});

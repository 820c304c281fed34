// SPDX-License-Identifier: MIT
import { sh } from './sh.js';

/**
 * Uses so much of the host's memory, and frees it. Where the host is itself a virtual machine, pages that it has not used
 * for long cost it more than all of the copying that is to be measured: whoever comes next gets pages that cost nothing.
 */
export async function warmMemory(mib: number): Promise<void> {
  await sh`dd if=/dev/zero of=/dev/null bs=${mib}M count=1 status=none`;
}

// SPDX-License-Identifier: MIT
import type { Workload } from '../workload.js';

/** Of different folders, and small: the emulator takes seconds for each. */
const QUICK = ['lib/argv_split.o', 'kernel/range.o', 'mm/interval_tree.o'];

export const workload: Workload = {
  name: 'kernel-build',
  about: "the paper's kernel build: Debian's Linux source, configured as tinyconfig",
  isOfPaper: true,
  image: 'bench',
  memoryMiB: 512,
  // Two hours emulated; auditd makes four times as much of it.
  timeoutMinutes: { full: 24 * 60 },
  script: (size) => {
    // The image's tree is prepared: what is measured is make, its shells, and the compiler.
    const [units, targets] = size === 'quick' ? [QUICK.length, QUICK.join(' ')] : [1, 'bzImage'];
    return `span kernel-build ${units} make -s -j$(nproc) -C /usr/src/linux ${targets}`;
  },
};

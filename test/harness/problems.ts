// SPDX-License-Identifier: MIT
import type { RunManifest } from '../../lab/run/manifest.js';

/** What went wrong with a recording, but for boots that QEMU spoilt before anything ran in them, and that were tried again. */
export function problemsOf(manifest: Pick<RunManifest, 'problems'>): string[] {
  return manifest.problems.filter((problem) => !/^boot \d+ failed before the guest said hello/.test(problem));
}

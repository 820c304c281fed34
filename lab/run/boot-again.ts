// SPDX-License-Identifier: MIT
/** Whether a boot that failed is tried again, and how its evidence is named. */
import path from 'node:path';
import { LabError, messageOf } from '../util/errors.js';

/** Boots in all, of a guest that QEMU broke before anything ran in it. */
const BOOT_ATTEMPTS = 3;

export interface FailedBoot {
  /** 1 for the first. */
  readonly attempt: number;
  /** The guest said hello: its disk may have changed, and its record holds the work of somebody. */
  readonly hasBooted: boolean;
  readonly error: unknown;
}

/**
 * Linux patches its code while it boots, whatever runs in it. QEMU 7.2 with several TCG threads may keep a translation of
 * the breakpoint that stands there meanwhile (seen with two and with four CPUs). Nothing has run by then, so the run
 * loses nothing with it; any other death of a guest is the run's own outcome. Pure.
 */
export function bootsAgain({ attempt, hasBooted, error }: FailedBoot): boolean {
  if (attempt >= BOOT_ATTEMPTS || hasBooted) return false;
  return error instanceof LabError && error.code === 'LAB_GUEST_PANIC' && error.message.includes('Oops: int3');
}

/** What run.json of the next boot says of a failed one; `kept` is its folder within the run's. Pure. */
export function failedBootProblem({ attempt, error }: FailedBoot, kept: string): string {
  const said = messageOf(error).split('\n')[0] ?? '';
  return (
    `boot ${attempt} failed before the guest said hello, and was tried again: ${said}; a stale breakpoint of QEMU's ` +
    `multi-threaded TCG is the usual cause; kept in ${kept}, where sh ${path.join(kept, 'reproduce.sh')} boots the same guest by hand`
  );
}

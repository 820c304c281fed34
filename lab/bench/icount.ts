// SPDX-License-Identifier: MIT
/** How the deterministic lane boots: one vCPU whose clock is the count of its instructions. */

/** The guest's wall clock begins here, whenever the bench runs: file times, and what is made of them, are the same. */
const EPOCH = '2026-01-01T00:00:00';

/**
 * As lab/vm/qemu-args.ts has it, but with the instruction that computes crc32c: emulating it is slow, but here instructions
 * count, and real processors have it; ext4 and the driver use it. Without `erms` and `fsrm`: QEMU executes `rep movsb`
 * once for each byte, and would count it so.
 */
const CPU = 'max,la57=off,erms=off,fsrm=off';

/** What the processor's own random numbers are made of; the guest's kernel trusts them (`random.trust_cpu`). */
export const ICOUNT_SEED = 1;

/**
 * One instruction is one nanosecond. `sleep=on`: the clock of a guest that waits goes on as the host's does. Otherwise it
 * jumps to the next timer whenever the guest waits for a disk or a server, however quick those are: the journal commits
 * after five seconds that nobody has waited, and a connection is given up whose answer is on its way.
 */
export const ICOUNT_QEMU_ARGS = [
  ...['-cpu', CPU, '-icount', 'shift=0,sleep=on', '-rtc', `clock=vm,base=${EPOCH}`],
  ...['-seed', String(ICOUNT_SEED)],
] as const;

/** Addresses that differ from boot to boot make hash chains, page faults and alignments differ. */
export const ICOUNT_KERNEL_ARGS = ['norandmaps', 'random.trust_cpu=on'] as const;

/** Seconds of such a guest may take a host's minute, and it sends its heartbeats as rarely. */
export const ICOUNT_WIRE_LIMITS = { silenceMs: 600_000 } as const;

// SPDX-License-Identifier: MIT
/** What the debug flavour's checkers have found in a run: on the console, and what has to be asked for in the guest. */
import { readFile } from 'node:fs/promises';
import { ioError, systemCodeOf } from '../util/errors.js';
import { type KernelReport, reportsOf } from '../vm/kernel-reports.js';

/**
 * A warning is shown on the console, and is the end of the guest: what follows it would hide it. Interrupts are not routed
 * by ACPI: its table of them is a loop that the checkers make slow, and on a busy host it was given up after 30 s.
 */
export const CHECKERS_KERNEL_ARGS = ['panic_on_warn=1', 'loglevel=5', 'acpi=noirq'] as const;

/**
 * Run when the command is over; says nothing if nothing was found. kmemleak reports nothing that is younger than five
 * seconds; what the first scan found by mistake, since its address was on its way, the second one takes back. A checker
 * that turned itself off would be silent for ever. The taint speaks for reports that are none of those we know.
 */
export const ASK_CHECKERS = [
  'sh',
  '-c',
  `[ -e /sys/kernel/debug/kmemleak ] || mount -t debugfs debugfs /sys/kernel/debug
cd /sys/kernel/debug && sleep 6 && echo scan > kmemleak && echo scan > kmemleak && cat kmemleak || echo "kmemleak is off"
grep -q "debug_locks: *1" /proc/lockdep_stats || echo "lockdep is off"
[ "$(cat /proc/sys/kernel/tainted)" = 0 ] || echo "the kernel is tainted: $(cat /proc/sys/kernel/tainted)"`,
] as const satisfies readonly [string, ...string[]];

/** What the guest said when it was asked: each leak, and whatever else it complained of. Pure. */
export function answersOf(output: string, status: number): KernelReport[] {
  const reports = output
    .split(/^(?=unreferenced object|kmemleak is|lockdep is|the kernel is)/m)
    .map((text) => text.trimEnd())
    .filter((text) => text !== '')
    .map((text) => ({ kind: text.startsWith('unreferenced') ? 'leak' : 'checker', text }));
  if (status === 0) return reports;
  return [...reports, { kind: 'checker', text: `the guest could not be asked for its reports: status ${status}` }];
}

/** What the console's log holds; there is none of a guest that was never started. */
export async function reportsOnConsole(consoleLog: string): Promise<KernelReport[]> {
  try {
    return reportsOf(await readFile(consoleLog, 'latin1'));
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw ioError(`reading ${consoleLog}`, error);
  }
}

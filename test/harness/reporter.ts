// SPDX-License-Identifier: MIT
/**
 * Mocha's spec reporter, which also writes its counts as JSON to the file
 * named by LEMONA_TEST_COUNTS: `./lemona test` adds up all groups. A file that
 * is still open after the last test, or was closed by the garbage collector
 * alone, is a failure of its own.
 */
import { readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export interface GroupCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Node's warning of a FileHandle that nobody closed. */
const CLOSED_BY_COLLECTOR = 'DEP0137';

/** Paths of the regular files that this process has open. */
function openFiles(): string[] {
  const folder = '/proc/self/fd';
  return readdirSync(folder).flatMap((fd) => {
    try {
      return statSync(`${folder}/${fd}`).isFile() ? [readlinkSync(`${folder}/${fd}`)] : [];
    } catch {
      return []; // The one that listed the folder.
    }
  });
}

export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const before = new Set(openFiles());
    const leaks: string[] = [];
    process.on('warning', (warning) => {
      if ('code' in warning && warning.code === CLOSED_BY_COLLECTOR) leaks.push('closed by the garbage collector');
    });
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const file = process.env.LEMONA_TEST_COUNTS;
      const { passes, failures, pending } = this.stats;
      leaks.push(...openFiles().filter((file) => !before.has(file)));
      for (const leak of leaks) process.stderr.write(`  a file that was not closed: ${leak}\n`);
      const counts: GroupCounts = { passed: passes, failed: failures + leaks.length, skipped: pending };
      if (file !== undefined) writeFileSync(file, JSON.stringify(counts));
    });
  }
}

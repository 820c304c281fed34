// SPDX-License-Identifier: MIT
/**
 * Mocha's spec reporter, which also writes its counts as JSON to the file
 * named by LEMONA_TEST_COUNTS: `./lemona test` adds up all groups.
 */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export interface GroupCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const file = process.env.LEMONA_TEST_COUNTS;
      const { passes, failures, pending } = this.stats;
      const counts: GroupCounts = { passed: passes, failed: failures, skipped: pending };
      if (file !== undefined) writeFileSync(file, JSON.stringify(counts));
    });
  }
}

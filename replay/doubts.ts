// SPDX-License-Identifier: MIT
/** What the agent finds in doubt, as it says it. */
import { WHAT } from '../lab/trace/lost.js';
import type { Doubt } from './control.js';

/** Inodes that are told apart. With more of them everything is in doubt. */
const DOUBTS_KEPT = 50_000;
const ALL: Doubt = { ino: 0n, gen: 0, rebuiltIno: 0, rebuiltGen: 0, what: WHAT.ALL };

export class Doubts {
  #kept: Doubt[] = [];

  add(doubt: Doubt): void {
    if (this.#kept.length < DOUBTS_KEPT) this.#kept.push(doubt);
    else this.#kept[0] = ALL;
  }

  /** What was said since it was asked last. */
  take(): readonly Doubt[] {
    const kept = this.#kept;
    this.#kept = [];
    return kept;
  }
}

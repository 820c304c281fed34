// SPDX-License-Identifier: MIT
/**
 * The server's log: one JSON object a line, with the time first. Strangers must not be able to fill a disk with it:
 * of what anybody can cause without a key, so many lines a second are written, and the others counted.
 */
import { toJson } from '../util/json.js';

export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string };

const STRANGERS_LINES = 20;
const WINDOW_MS = 1000;

export class ServerLog {
  readonly #write: (line: string) => void;
  readonly #now: () => Date;
  #windowMs = 0;
  #lines = 0;
  #left = 0;

  constructor(write: (line: string) => void, now: () => Date) {
    this.#write = write;
    this.#now = now;
  }

  line(line: LogLine): void {
    this.#write(`${toJson({ time: this.#now().toISOString(), ...line })}\n`);
  }

  /** A line that a stranger caused. */
  stranger(line: LogLine): void {
    const nowMs = this.#now().getTime();
    if (nowMs - this.#windowMs >= WINDOW_MS) {
      if (this.#left > 0) this.line({ event: 'left out', lines: this.#left });
      this.#windowMs = nowMs;
      this.#lines = 0;
      this.#left = 0;
    }
    if (this.#lines < STRANGERS_LINES) {
      this.#lines++;
      this.line(line);
    } else this.#left++;
  }
}

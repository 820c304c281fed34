// SPDX-License-Identifier: MIT
/** The last bytes of a stream, for error messages. */
export class OutputTail {
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #size = 0;

  /** 8 KiB is some hundred lines: enough to explain a failure, little enough to print. */
  constructor(limitBytes = 8192) {
    this.#limit = limitBytes;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    // Compact only at twice the limit, so that each byte is copied about once.
    if (this.#size > 2 * this.#limit) {
      const all = Buffer.concat(this.#chunks);
      const kept = Buffer.from(all.subarray(all.length - this.#limit));
      this.#chunks = [kept];
      this.#size = kept.length;
    }
  }

  text(): string {
    const all = Buffer.concat(this.#chunks);
    return all
      .subarray(Math.max(0, all.length - this.#limit))
      .toString('utf8')
      .trimEnd();
  }
}

// SPDX-License-Identifier: MIT
/** SHA-256 of bytes as they come, here or in a thread of its own. */
import { createHash, type Hash } from 'node:crypto';

export interface RunningHash {
  /** The bytes may change once it has resolved. */
  update(bytes: Buffer): Promise<void>;
  /** Of all so far; more may follow. */
  digest(): Promise<Buffer>;
  /** It is needed no more. */
  leave(): void;
}

/** In this thread. */
export class LocalHash implements RunningHash {
  readonly #hash: Hash;

  constructor(hash = createHash('sha256')) {
    this.#hash = hash;
  }

  async update(bytes: Buffer): Promise<void> {
    this.#hash.update(bytes);
  }

  async digest(): Promise<Buffer> {
    return this.#hash.copy().digest();
  }

  leave(): void {}
}

// SPDX-License-Identifier: MIT
/**
 * SHA-256 in sixteen streams, the digest of segments (`docs/format.md`): blocks of 4096 bytes are dealt to them in turn, so
 * that a processor can hash sixteen at a time (`../link/intake/sha256x16.c`). Here they are hashed one after another.
 */
import { createHash, type Hash } from 'node:crypto';

const STREAMS = 16;
const BLOCK_BYTES = 4096;
const NAME = 'lemona sha256 x16 4096\n';

export class Sha256x16 {
  readonly #streams: readonly Hash[];
  #bytes: number;

  constructor(streams: readonly Hash[] = Array.from({ length: STREAMS }, () => createHash('sha256')), bytes = 0) {
    this.#streams = streams;
    this.#bytes = bytes;
  }

  /** Adds bytes behind those before. */
  update(bytes: Uint8Array): this {
    for (let at = 0; at < bytes.length; ) {
      const block = Math.floor(this.#bytes / BLOCK_BYTES);
      const end = Math.min(bytes.length, at + BLOCK_BYTES - (this.#bytes % BLOCK_BYTES));
      this.#streams[block % STREAMS]?.update(bytes.subarray(at, end));
      this.#bytes += end - at;
      at = end;
    }
    return this;
  }

  /** To go on with in another way. */
  copy(): Sha256x16 {
    return new Sha256x16(
      this.#streams.map((stream) => stream.copy()),
      this.#bytes,
    );
  }

  /** Of all bytes so far; it takes no more. */
  digest(): Buffer {
    const all = createHash('sha256').update(NAME);
    for (const stream of this.#streams) all.update(stream.digest());
    return all.digest();
  }
}

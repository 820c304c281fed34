// SPDX-License-Identifier: MIT
/** The texts of a batch: each one once, numbered by the database when the batch is written. */
import { displayBytes } from '../trace/text.js';
import { BoundedMap } from '../util/bounded-map.js';
import type { Store, TextRef } from './store.js';

/** Texts whose numbers are remembered: about 200 bytes each. */
const KEPT = 100_000;
/** Characters of a text: a longer one is cut, and ends with …. */
const LENGTH_LIMIT = 16_384;

export class Texts {
  readonly #byText = new BoundedMap<string, TextRef>(KEPT);
  /** By the raw bytes, as latin1: spares making them harmless again. */
  readonly #byBytes = new BoundedMap<string, TextRef>(KEPT);
  #fresh: { readonly text: string; readonly ref: TextRef }[] = [];

  ofText(full: string): TextRef {
    const text = full.length > LENGTH_LIMIT ? `${full.slice(0, LENGTH_LIMIT)}…` : full;
    let ref = this.#byText.get(text);
    if (ref === undefined) {
      ref = { id: 0 };
      this.#byText.set(text, ref);
      this.#fresh.push({ text, ref });
    }
    return ref;
  }

  /** Of bytes of the guest. */
  ofBytes(buf: Buffer, from: number, to: number): TextRef {
    const raw = buf.toString('latin1', from, to);
    let ref = this.#byBytes.get(raw);
    if (ref === undefined) {
      ref = this.ofText(displayBytes(buf.subarray(from, to)));
      this.#byBytes.set(raw, ref);
    }
    return ref;
  }

  /** Has the database number those that are new to us. */
  async flush(store: Store): Promise<void> {
    if (this.#fresh.length === 0) return;
    const fresh = this.#fresh;
    this.#fresh = [];
    const ids = await store.internTexts(fresh.map(({ text }) => text));
    for (const [i, { ref }] of fresh.entries()) ref.id = ids[i] ?? 0;
  }
}

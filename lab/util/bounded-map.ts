// SPDX-License-Identifier: MIT
/**
 * A map that forgets: it holds at most `limit` entries, and lets go of those that were neither set nor asked for
 * longest. For tables whose keys a guest chooses, which would else grow with its imagination.
 *
 * Two generations instead of an order: when the young one is half the limit, it becomes the old one, and the old
 * one goes. Every operation takes constant time; a Map from which the first key is removed again and again does not.
 */
export class BoundedMap<K, V extends NonNullable<unknown>> {
  readonly #half: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  constructor(limit: number) {
    this.#half = Math.max(1, Math.floor(limit / 2));
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
    if (this.#young.size < this.#half) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}

// SPDX-License-Identifier: MIT
/** Rates over the last seconds, from counters that only grow. */
const SAMPLES = 10;

export class Rates<K extends object> {
  /** By what is counted: its counter in the last seconds, the newest last. */
  readonly #samples = new WeakMap<K, { readonly atMs: number; readonly count: number }[]>();

  /** Called about once a second for each. */
  sample(key: K, count: number, atMs: number): void {
    const samples = this.#samples.get(key) ?? [];
    samples.push({ atMs, count });
    if (samples.length > SAMPLES) samples.shift();
    this.#samples.set(key, samples);
  }

  /** A second, over the samples there are; 0 before there are two. */
  of(key: K): number {
    const samples = this.#samples.get(key) ?? [];
    const [first, last] = [samples[0], samples.at(-1)];
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.count - first.count) / (last.atMs - first.atMs)) * 1000;
  }
}

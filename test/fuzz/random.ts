// SPDX-License-Identifier: MIT
/** A fast seeded source of numbers (mulberry32): the same seed gives the same hostile guest. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** 32 bits, unsigned. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 to n - 1. */
  below(n: number): number {
    return this.u32() % n;
  }

  /** True once in n times. */
  oneIn(n: number): boolean {
    return this.u32() % n === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.u32() % items.length] as T;
  }
}

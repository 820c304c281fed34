// SPDX-License-Identifier: MIT
/** Ranges of numbers, 16 bytes each: a guest may declare very many losses. */

export interface SeqRange {
  readonly first: bigint;
  readonly last: bigint;
}

export class RangeList {
  /** First and last number of each, one after the other. */
  #ends = new BigUint64Array(64);
  #count = 0;

  /** Joined. */
  static of(ranges: Iterable<SeqRange>): RangeList {
    const list = new RangeList();
    for (const { first, last } of ranges) list.add(first, last);
    list.join();
    return list;
  }

  get count(): number {
    return this.#count;
  }

  first(i: number): bigint {
    return this.#ends[2 * i] ?? 0n;
  }

  last(i: number): bigint {
    return this.#ends[2 * i + 1] ?? 0n;
  }

  /** One that ends before it begins holds nothing. */
  add(first: bigint, last: bigint): void {
    if (first > last) return;
    if (2 * this.#count === this.#ends.length) {
      const longer = new BigUint64Array(2 * this.#ends.length);
      longer.set(this.#ends);
      this.#ends = longer;
    }
    this.#ends[2 * this.#count] = first;
    this.#ends[2 * this.#count + 1] = last;
    this.#count++;
  }

  /** Sorts, and makes one of those that touch or overlap. */
  join(): void {
    const ends = this.#ends;
    const at = (i: number) => ends[2 * i] ?? 0n;
    const order = new Uint32Array(this.#count)
      .map((_, i) => i)
      .sort((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : 0));
    this.#ends = new BigUint64Array(ends.length);
    this.#count = 0;
    for (const i of order) {
      const [first, last] = [at(i), ends[2 * i + 1] ?? 0n];
      const before = this.#count - 1;
      if (before < 0 || first > this.last(before) + 1n) this.add(first, last);
      else if (last > this.last(before)) this.#ends[2 * before + 1] = last;
    }
  }

  /** Of joined ones, the place of the first that does not end before `seq`. */
  from(seq: bigint): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.last(middle) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Splits a gap into the parts that `declared` (joined) covers and those it does not. */
export function splitGap(gap: SeqRange, declared: RangeList): (SeqRange & { isDeclared: boolean })[] {
  const parts: (SeqRange & { isDeclared: boolean })[] = [];
  let at = gap.first;
  for (let i = declared.from(gap.first); i < declared.count; i++) {
    const [first, last] = [declared.first(i), declared.last(i)];
    if (first > gap.last) break;
    if (first > at) {
      parts.push({ first: at, last: first - 1n, isDeclared: false });
      at = first;
    }
    if (last >= gap.last) {
      parts.push({ first: at, last: gap.last, isDeclared: true });
      return parts;
    }
    parts.push({ first: at, last, isDeclared: true });
    at = last + 1n;
  }
  if (at <= gap.last) parts.push({ first: at, last: gap.last, isDeclared: false });
  return parts;
}

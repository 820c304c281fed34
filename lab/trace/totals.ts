// SPDX-License-Identifier: MIT
/** Sums over the sub-buffers of a run and of each CPU's stream, taken as they go by in file order. */
import type { SeqRange } from './ranges.js';
import type { SubbufHeader } from './subbuf.js';
import type { Survey } from './walk.js';

/** Gaps and boots listed, for each stream and for all: more than that are only a longer list of the same mistake. */
const NUMBER_GAPS_LISTED = 1000;
const BOOTS_COUNTED = 1000;

export class StreamTotals {
  readonly cpu: number;
  subbufs = 0;
  recorded = 0;
  /** In other parts of these sub-buffers. */
  elsewhere = 0;
  /** As the sub-buffer with the highest number says. */
  issued = 0n;
  dropped = 0n;
  /** Numbers of sub-buffers that are not here, or not in their place. */
  readonly numberGaps: SeqRange[] = [];
  #wanted = 0n;

  constructor(cpu: number) {
    this.cpu = cpu;
  }

  add(header: SubbufHeader, { elsewhere, signs }: Survey): void {
    this.subbufs++;
    this.recorded += header.records - signs;
    this.elsewhere += elsewhere;
    if (header.number > this.#wanted && this.numberGaps.length < NUMBER_GAPS_LISTED)
      this.numberGaps.push({ first: this.#wanted, last: header.number - 1n });
    if (header.number + 1n < this.#wanted) return;
    this.#wanted = header.number + 1n;
    this.issued = header.issued;
    this.dropped = header.dropped;
  }
}

export class RunTotals {
  readonly #streams = new Map<number, StreamTotals>();
  readonly #boots = new Set<bigint>();
  subbufs = 0;
  bytes = 0;
  effects = 0n;
  /** Smallest and largest number of an effect; 0n: there are none. */
  seqFirst = 0n;
  seqLast = 0n;
  /** Largest number that is known to have been drawn: also of an effect that another part has. */
  seqKnown = 0n;
  /** Effects that another part has. */
  effectsElsewhere = 0n;
  /** Sub-buffers whose effects do not ascend. */
  disordered = 0;
  /** Wall clock of the earliest and latest sub-buffer's base. */
  firstRealNs: bigint | undefined;
  lastRealNs: bigint | undefined;

  /** Ascending by CPU. */
  get streams(): StreamTotals[] {
    return [...this.#streams.values()].sort((a, b) => a.cpu - b.cpu);
  }

  /** Boots of a guest that these are of; many are counted as a thousand. */
  get boots(): number {
    return this.#boots.size;
  }

  add(header: SubbufHeader, survey: Survey): void {
    let stream = this.#streams.get(header.cpu);
    if (stream === undefined) {
      stream = new StreamTotals(header.cpu);
      this.#streams.set(header.cpu, stream);
    }
    stream.add(header, survey);
    if (this.#boots.size < BOOTS_COUNTED) this.#boots.add(header.bootId);
    this.subbufs++;
    this.bytes += header.length;
    if (header.effects > 0) {
      if (this.effects === 0n || survey.seqFirst < this.seqFirst) this.seqFirst = survey.seqFirst;
      if (survey.seqLast > this.seqLast) this.seqLast = survey.seqLast;
      this.effects += BigInt(header.effects);
    }
    const { seqLast, effects } = survey.whole ?? { seqLast: survey.seqLast, effects: header.effects };
    if (seqLast > this.seqKnown) this.seqKnown = seqLast;
    this.effectsElsewhere += BigInt(effects - header.effects);
    if (!survey.isAscending) this.disordered++;
    if (this.firstRealNs === undefined || header.realNs < this.firstRealNs) this.firstRealNs = header.realNs;
    if (this.lastRealNs === undefined || header.realNs > this.lastRealNs) this.lastRealNs = header.realNs;
  }
}

// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { KIND } from '../../lab/abi/layout.js';
import { TimeMerge } from '../../lab/store/ordered.js';
import { checkHeader } from '../../lab/trace/subbuf.js';
import * as b from '../support/trace-builder.js';

const BASES = { monoNs: 0n, realNs: 0n };
const SECOND = 1_000_000_000;

/** Adds a sub-buffer as the reader of segments hands it out. */
function add(merge: TimeMerge, records: readonly Buffer[], cpu: number, monoNs: number, offset = 0): void {
  const bytes = b.subbuf(records, { cpu, monoNs: BigInt(monoNs) });
  const check = checkHeader(bytes);
  if (!check.ok) throw new Error(check.problem.detail);
  merge.add({ type: 'subbuf', segment: 0, offset, header: check.header, bytes });
}

/** What comes out until the next record has to wait: CPU and time of each. */
function drain(merge: TimeMerge, isEnd = false): string[] {
  const seen: string[] = [];
  for (let cursor = merge.next(isEnd); cursor !== undefined; cursor = merge.next(isEnd)) {
    seen.push(`${cursor.cpu}@${cursor.monoAt}${cursor.kind === KIND.EFFECT ? `#${cursor.seq}` : ''}`);
    merge.advance(cursor);
  }
  return seen;
}

const at = (dt: number): Buffer => b.entry(0, [], [], { dt });

describe('records in order of time', () => {
  it('mixes CPUs whose sub-buffers came one after the other', () => {
    const merge = new TimeMerge(BASES);
    add(merge, [at(10), at(30)], 0, 0);
    add(merge, [at(5), at(20)], 1, 0);
    expect(drain(merge)).to.deep.equal([]);
    expect(drain(merge, true)).to.deep.equal(['1@5', '0@10', '1@20', '0@30']);
  });

  it('waits a second for a sub-buffer that is late, and no longer', () => {
    const merge = new TimeMerge(BASES);
    add(merge, [at(10), at(30)], 0, 0);
    add(merge, [at(0)], 0, SECOND + 20);
    expect(drain(merge)).to.deep.equal(['0@10']);
    add(merge, [at(20)], 1, 0);
    add(merge, [at(0)], 0, 2 * SECOND + 20);
    expect(drain(merge)).to.deep.equal(['1@20', '0@30', `0@${SECOND + 20}`]);
  });

  it('keeps effects in the order of their numbers where the clocks of two CPUs disagree', () => {
    const merge = new TimeMerge(BASES);
    add(merge, [b.nop(2n, { dt: 10 }), at(11)], 0, 0);
    add(merge, [at(12), b.nop(1n, { dt: 15 }), b.nop(3n, { dt: 16 })], 1, 0);
    expect(drain(merge, true)).to.deep.equal(['1@12', '1@15#1', '0@10#2', '0@11', '1@16#3']);
  });

  it('says where what waits lies, and goes on from there', () => {
    const merge = new TimeMerge(BASES);
    add(merge, [at(10), at(30)], 0, 0, 64);
    add(merge, [at(0)], 1, SECOND + 20, 500);
    expect(drain(merge)).to.deep.equal(['0@10']);
    expect(merge.held().map(({ offset, from }) => [offset, from])).to.deep.equal([
      [64, 96 + 16],
      [500, 96],
    ]);
    expect(merge.newest).to.equal(BigInt(SECOND + 20));
  });

  it('gives up waiting when too much of it waits', () => {
    const merge = new TimeMerge(BASES);
    const much = b.info('x'.repeat(1_000_000));
    for (let n = 0; n < 40; n++) add(merge, [much], 0, n);
    expect(drain(merge)).to.have.length(7);
  });
});

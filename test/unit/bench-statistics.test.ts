// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { median, medianInterval, rankTest, spread } from '../../lab/bench/statistics.js';

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

describe('the statistics of a bench', () => {
  it('takes the middle value, or the mean of the two middle ones', () => {
    expect(median([3, 1, 2])).to.equal(2);
    expect(median([4, 1, 3, 2])).to.equal(2.5);
    expect(median([])).to.be.NaN;
  });

  it('gives no interval of fewer than six values, and the known ranks of 6, 10 and 20', () => {
    expect(medianInterval(upTo(5))).to.equal(undefined);
    // Tables of the sign test: ranks 1 and 6 of 6 (96.9 %), 2 and 9 of 10 (97.9 %), 6 and 15 of 20 (95.9 %).
    expect(medianInterval(upTo(6))).to.deep.equal({ low: 1, high: 6 });
    expect(medianInterval(upTo(10))).to.deep.equal({ low: 2, high: 9 });
    expect(medianInterval(upTo(20))).to.deep.equal({ low: 6, high: 15 });
  });

  it('says how far values lie apart', () => {
    expect(spread([100, 101, 99])).to.be.closeTo(0.02, 1e-12);
    expect(spread([5])).to.equal(0);
  });

  it('finds a shift by ranks, and none between samples of the same thing', () => {
    const a = upTo(10);
    expect(rankTest(a, a)).to.be.greaterThan(0.9);
    expect(
      rankTest(
        a,
        a.map((value) => value + 20),
      ),
    ).to.be.lessThan(0.001);
    expect(rankTest([1, 1, 1], [1, 1, 1])).to.equal(1);
    // By hand: U = 5, its mean 12.5, its deviation the root of 25 · 11 / 12.
    expect(rankTest([1.1, 2.2, 3.3, 4.4, 5.5], [2.5, 3.5, 6.5, 7.5, 8.5])).to.be.closeTo(0.1437, 0.002);
  });
});

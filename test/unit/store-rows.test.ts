// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { Rows, rowsOf } from '../../lab/store/rows.js';

describe('rows of integers', () => {
  it('hold every number of 64 bits, and say what is NULL', () => {
    const rows = new Rows('threads');
    const values = [
      0,
      1,
      -1,
      2 ** 31,
      -(2 ** 31) - 1,
      2 ** 32,
      2 ** 53 - 1,
      -(2 ** 53) + 1,
      2n ** 63n - 1n,
      -(2n ** 63n),
      2n ** 53n + 1n,
      null,
    ];
    for (const value of values) {
      const row = rows.add();
      rows.setAny(row, 0, value);
      rows.setAny(row, 5, value);
    }
    const raw = Buffer.alloc(8);
    raw.writeBigInt64LE(-(2n ** 62n));
    rows.copy(rows.add(), 3, raw, 0);
    const seen = [...rowsOf(rows.take(), 7)];
    expect(seen.slice(0, -1)).to.deep.equal(
      values.map((value) => {
        const big = value === null ? null : BigInt(value);
        return [big, null, null, null, null, big, null];
      }),
    );
    expect(seen.at(-1)).to.deep.equal([null, null, null, -(2n ** 62n), null, null, null]);
    expect(rows.count).to.equal(0);
  });

  it('grow, and forget nothing of the batch before', () => {
    const rows = new Rows('threads');
    for (let n = 0; n < 5000; n++) rows.set(rows.add(), 2, n);
    expect([...rowsOf(rows.take(), 7)].map((row) => row[2])).to.deep.equal(
      Array.from({ length: 5000 }, (_, n) => BigInt(n)),
    );
    rows.set(rows.add(), 1, 7);
    expect([...rowsOf(rows.take(), 7)]).to.deep.equal([[null, 7n, null, null, null, null, null]]);
  });

  it('take the number of a text when it has one', () => {
    const rows = new Rows('threads');
    const text = { id: 0 };
    rows.setText(rows.add(), 1, text);
    rows.setText(rows.add(), 1, null);
    text.id = 9;
    expect([...rowsOf(rows.take(), 7)].map((row) => row[1])).to.deep.equal([9n, null]);
  });
});

// SPDX-License-Identifier: MIT
/** Tests that are there to fail: divergence.test.ts runs them and reads what is printed then. */
import { blameSeed, testSeed, useBench } from '../harness/boot.js';

describe("a seed's test (that fails)", () => {
  useBench();

  it("blames [one] of its seeds: isn't that + enough?", () => {
    process.stdout.write(`first seed: ${testSeed()}\n`);
    const blamed = process.env.LEMONA_TEST_BLAME;
    if (blamed !== undefined) blameSeed(Number(blamed));
    throw new Error('on purpose');
  });

  it('blames nothing', () => {
    throw new Error('on purpose');
  });
});

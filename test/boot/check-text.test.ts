// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { checkText } from '../../guest-kernel/check-text.js';
import { useBench } from '../harness/boot.js';

describe('the kernel without the driver', () => {
  const bench = useBench();

  it("has vanilla's machine code, object by object", async () => {
    const result = await checkText(bench().ctx);
    expect(result.differences).to.deep.equal([]);
    expect(result.files).to.be.greaterThan(1000);
    expect(result.bytes).to.be.greaterThan(4_000_000);
  });
});

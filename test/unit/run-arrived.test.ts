// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { goneSince } from '../../lab/run/arrived.js';

describe('what arrived and is gone', () => {
  const trace = { segments: 1, bytes: 6000, subbufs: 6, tornBytes: 0 };

  it('is nothing while the segments hold what run.json counted, or more than it counted yet', () => {
    expect(goneSince(trace, { subbufs: 6, bytes: 6000 })).to.equal(undefined);
    const nothing = { segments: 0, bytes: 0, subbufs: 0, tornBytes: 0 };
    expect(goneSince(nothing, { subbufs: 3, bytes: 3000 })).to.equal(undefined);
  });

  it('is said with both counts', () => {
    expect(goneSince(trace, { subbufs: 5, bytes: 5000 })).to.match(
      /^6 sub-buffers \(6000 bytes\).* hold 5 \(5000 bytes\)/,
    );
    expect(goneSince(trace, { subbufs: 0, bytes: 0 })).to.match(/hold 0 /);
  });
});

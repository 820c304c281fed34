// SPDX-License-Identifier: MIT
/** The checksum of sub-buffers is a library's: that it is the one which docs/format.md says. */
import { crc32c } from '@node-rs/crc32';
import { expect } from 'chai';

/** The definition, bit by bit: slow and obviously right. */
function bitwise(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

describe('crc32c', () => {
  it('gives the check value and the vectors of RFC 3720', () => {
    expect(crc32c(Buffer.from('123456789'))).to.equal(0xe3069283);
    expect(crc32c(Buffer.alloc(32))).to.equal(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).to.equal(0x62a8ab43);
    expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).to.equal(0x46dd794e);
  });

  it('agrees with the bitwise definition at every length and offset, also of a view', () => {
    const bytes = Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 37 + (i >> 3)) & 0xff));
    for (let start = 0; start < 9; start++)
      for (let end = start; end <= bytes.length; end++) {
        const view = bytes.subarray(start, end);
        expect(crc32c(view)).to.equal(bitwise(view));
      }
  });

  it('goes on from what the bytes before gave', () => {
    const bytes = Buffer.from('a sub-buffer is read in pieces');
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).to.equal(crc32c(bytes));
  });
});

// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { crc32c, crc32cUpdate } from '../../lab/abi/crc32c.js';

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

  it('agrees with the bitwise definition at every length and offset around a step of 8', () => {
    const bytes = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 37 + 11) & 0xff));
    for (let start = 0; start < 9; start++)
      for (let end = start; end <= bytes.length; end++)
        expect(crc32c(bytes, start, end)).to.equal(bitwise(bytes.subarray(start, end)));
  });

  it('agrees with it where words are read, aligned or not', () => {
    const bytes = Buffer.from(Array.from({ length: 1100 }, (_, i) => (i * 37 + (i >> 3)) & 0xff));
    for (let start = 0; start < 9; start++)
      for (let end = start + 1015; end < start + 1050; end++)
        expect(crc32c(bytes, start, end)).to.equal(bitwise(bytes.subarray(start, end)));
  });

  it('can be fed in pieces', () => {
    const bytes = Buffer.from('a sub-buffer is read in pieces');
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(~crc32cUpdate(crc32cUpdate(-1, bytes, 0, cut), bytes, cut) >>> 0).to.equal(crc32c(bytes));
  });
});

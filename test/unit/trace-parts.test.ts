// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { isPartOf, joinParts } from '../../lab/trace/parts.js';
import { decodeRecords } from '../../lab/trace/record.js';
import { describeRecord } from '../../lab/trace/render.js';
import { parseSubbuf } from '../../lab/trace/subbuf.js';
import { surveySubbuf } from '../../lab/trace/walk.js';
import { partOf } from '../support/parts.js';
import * as b from '../support/trace-builder.js';

const ABOUT_SOCKET = { flags: FLAG.F_SOCKET };

/** Records of a process that talks and writes: two for both parts, four for the network, five for the disk. */
const WHOLE = b.subbuf(
  [
    b.task({}),
    b.entry(41, [2, 1, 0], [], { ...ABOUT_SOCKET, dt: 5 }),
    b.exit(41, 3, [], ABOUT_SOCKET),
    b.entry(39),
    b.exit(39, 100),
    b.write({ seq: 1n }, 0n, 'hello'),
    b.entry(44, [3, 0x1000, 5, 0, 0, 0], [b.tlv('BUF_IN', 'secret')], ABOUT_SOCKET),
    b.switchTo(101),
    b.uring(FLAG.URING_SUBMIT, 26),
    b.uring(FLAG.URING_SUBMIT, 23),
    b.write({ seq: 2n }, 5n, ' world'),
  ],
  { cpu: 1, number: 7n, issued: 40n, dropped: 2n },
);
const [NETWORK, DISK] = [partOf(WHOLE, 'network'), partOf(WHOLE, 'disk')] as const;

function headerOf(bytes: Buffer) {
  const check = parseSubbuf(bytes);
  if (!check.ok) throw new Error(check.problem.detail);
  return check.header;
}

describe('parts of a sub-buffer', () => {
  it('are sub-buffers that say how many records are elsewhere', () => {
    for (const [part, signs, elsewhere, effects] of [
      [NETWORK, 3, 5, 0],
      [DISK, 4, 4, 2],
    ] as const) {
      const header = headerOf(part);
      const survey = surveySubbuf(part, header);
      expect(survey.problem).to.equal(undefined);
      expect([survey.signs, survey.elsewhere]).to.deep.equal([signs, elsewhere]);
      expect(header.records - survey.signs + survey.elsewhere).to.equal(headerOf(WHOLE).records);
      expect([header.effects, header.number, header.issued, header.dropped]).to.deep.equal([effects, 7n, 40n, 2n]);
    }
    expect(NETWORK.includes('hello')).to.equal(false);
    expect(DISK.includes('secret')).to.equal(false);
    const shown = [...decodeRecords(DISK, headerOf(DISK))].map((record) => `${record.kind} ${describeRecord(record)}`);
    expect(shown[0]).to.equal(`part of 11 records, 2 of them effects, in ${WHOLE.length} bytes`);
    expect(shown[2]).to.equal('elsewhere 2 records in 64 bytes are in the part of another category');
  });

  it('are the whole together, to the byte, in any order', () => {
    for (const parts of [
      [NETWORK, DISK],
      [DISK, NETWORK],
    ])
      expect(joinParts(parts)).to.deep.equal(WHOLE);
    for (const part of [NETWORK, DISK]) expect(isPartOf(part, WHOLE)).to.equal(true);
  });

  it('that are not all there, or of another one, or no parts, make nothing', () => {
    const other = partOf(b.reseal(b.subbuf([b.task({})], { cpu: 1, number: 7n, issued: 40n, dropped: 2n })), 'disk');
    expect(joinParts([])).to.match(/none/);
    expect(joinParts([NETWORK])).to.match(/none of them has the record at \d+/);
    expect(joinParts([NETWORK, other])).to.match(/different sub-buffers/);
    expect(joinParts([NETWORK, WHOLE])).to.match(/does not begin with PART/);
    expect(isPartOf(other, WHOLE)).to.equal(false);
    expect(isPartOf(WHOLE, WHOLE)).to.equal(false);
  });

  it('of which any byte was changed, with the checksum made anew, do not make a whole', () => {
    for (let at = 0; at < DISK.length; at++) {
      // The checksum itself is made anew.
      if (at >= 88 && at < 92) continue;
      const changed = Buffer.from(DISK);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x10, at);
      b.reseal(changed);
      const joined = joinParts([NETWORK, changed]);
      // Counts that only the part has are nothing to the whole.
      if (typeof joined !== 'string') expect(joined, `byte ${at}`).to.deep.equal(WHOLE);
      expect(isPartOf(changed, WHOLE), `byte ${at}`).to.equal(typeof joined !== 'string');
    }
  });
});

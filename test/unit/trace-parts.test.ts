// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { fits, joinParts, partOf } from '../../lab/trace/parts.js';
import { decodeRecords } from '../../lab/trace/record.js';
import { describeRecord } from '../../lab/trace/render.js';
import { parseSubbuf } from '../../lab/trace/subbuf.js';
import { surveySubbuf } from '../../lab/trace/walk.js';
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

  it('are the whole together, to the byte', () => {
    expect(joinParts(NETWORK, DISK)).to.deep.equal(WHOLE);
    for (const bytes of [NETWORK, DISK, WHOLE]) expect(fits(headerOf(bytes), bytes, WHOLE)).to.equal(true);
  });

  it('that are not all there, or of another one, or no parts, make nothing', () => {
    const other = partOf(b.subbuf([b.task({})], { cpu: 1, number: 7n, issued: 40n, dropped: 2n }), 'disk');
    expect(joinParts(NETWORK, NETWORK)).to.match(/neither has the record at \d+/);
    expect(joinParts(NETWORK, other)).to.match(/different sub-buffers/);
    expect(joinParts(NETWORK, WHOLE)).to.match(/does not begin with PART/);
    expect(joinParts(NETWORK, DISK.subarray(0, -8))).to.match(/has \d+ bytes of \d+/);
    expect(joinParts(DISK, NETWORK)).to.match(/not its own/);
    expect(fits(headerOf(other), other, WHOLE)).to.equal(false);
  });

  it('of which any byte was changed, with the checksum made anew, are found out', () => {
    for (let at = 0; at < DISK.length; at++) {
      // The checksum is made anew.
      if (at >= 88 && at < 92) continue;
      const changed = Buffer.from(DISK);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x10, at);
      b.reseal(changed);
      expect(joinParts(NETWORK, changed), `byte ${at}`).to.be.a('string');
    }
  });

  it('that leave out what is their own, or say something else of what both have, are found out', () => {
    // All of it elsewhere.
    const header = headerOf(WHOLE);
    const emptied = b.reseal(
      Buffer.concat([DISK.subarray(0, 96 + 48), b.elsewhere(header.records, WHOLE.length - 96)]),
    );
    b.putStruct(emptied, 0, 'lemona_subbuf', {
      length: emptied.length,
      records: 2,
      effects: 0,
      seq_first: 0,
      seq_last: 0,
    });
    b.reseal(emptied);
    expect(fits(headerOf(emptied), emptied, WHOLE)).to.equal(false);
    expect(joinParts(NETWORK, emptied)).to.match(/neither has the record at/);
    // The task is in both, and the other part's says what the checksum says.
    const lie = Buffer.from(DISK);
    lie.write('evil', 96 + 48 + 48);
    expect(joinParts(NETWORK, b.reseal(lie))).to.match(/what both have is not the same/);
  });

  it('must be what their flags say', () => {
    const problemOf = (bytes: Buffer, flags: number) => {
      const changed = Buffer.from(bytes);
      b.putStruct(changed, 0, 'lemona_subbuf', { flags });
      return surveySubbuf(changed, headerOf(b.reseal(changed))).problem;
    };
    expect([problemOf(WHOLE, 0), problemOf(NETWORK, 1), problemOf(DISK, 2)]).to.deep.equal([
      undefined,
      undefined,
      undefined,
    ]);
    expect(problemOf(DISK, 0)).to.match(/it is whole, and says/);
    for (const [bytes, flags] of [
      [DISK, 1],
      [DISK, 3],
      [DISK, 4],
      [WHOLE, 2],
    ] as const)
      expect(problemOf(bytes, flags), `flags ${flags}`).to.match(/no part of that category/);
    for (const [part, facts, problem] of [
      [DISK, { records: 77 }, /the whole has 77/],
      [DISK, { length: 8 }, /in 8 bytes/],
      [DISK, { effects: 3 }, /the whole has 3 effects/],
      [DISK, { seq_last: 1n << 60n }, /effects up to 1152921504606846976/],
      [NETWORK, { effects: 6 }, /the whole has 6 effects/],
      [NETWORK, { effects: 0 }, /the whole has 0 effects up to 2/],
    ] as const) {
      const changed = Buffer.from(part);
      b.putStruct(changed, 96, 'lemona_part', facts);
      expect(surveySubbuf(b.reseal(changed), headerOf(changed)).problem).to.match(problem);
    }
  });
});

// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { REC_KIND_SHIFT } from '../../lab/abi/records.js';
import { LabError } from '../../lab/util/errors.js';
import {
  describeMismatch,
  describeWaiting,
  encodeBatch,
  encodeBegin,
  encodeEnd,
  encodeLost,
  encodeStop,
  parseAnswer,
} from '../../replay/control.js';

describe('control records', () => {
  it('are records of a kind that no recording holds, in multiples of 8 bytes', () => {
    for (const record of [encodeBegin({ dev: 0xfe00, flags: 3, mountOptions: 'acl' }), encodeStop(7), encodeEnd()]) {
      expect(record.readUInt32LE(0) >>> REC_KIND_SHIFT).to.equal(63);
      expect(record.readUInt32LE(0) & 0x3ffffff).to.equal(record.length);
      expect(record.length % 8).to.equal(0);
    }
  });

  it('carry the device, the flags and the mount options', () => {
    const begin = encodeBegin({ dev: 0xfe00, flags: 3, mountOptions: 'acl,noatime' });
    expect([begin.readUInt32LE(16), begin.readUInt32LE(20), begin.readUInt32LE(24)]).to.deep.equal([0xfe00, 3, 11]);
    expect(begin.subarray(32, 43).toString()).to.equal('acl,noatime');
  });
});

describe('batches, stops and lost effects', () => {
  it('carry their place on the plan disk, their flag, and what of which inode', () => {
    const batch = encodeBatch({ offset: 3 * 1024 * 1024, lengthBytes: 1_000_000 });
    expect([batch.length, batch.readUInt16LE(4)]).to.deep.equal([32, 5]);
    expect([batch.readBigUInt64LE(16), batch.readUInt32LE(24)]).to.deep.equal([3_145_728n, 1_000_000]);
    expect([encodeStop(7).readUInt32LE(24), encodeStop(7, true).readUInt32LE(24)]).to.deep.equal([0, 1]);
    const lost = encodeLost({ ino: 2n ** 40n, gen: 9, what: 0x21 });
    expect([lost.length, lost.readBigUInt64LE(16), lost.readUInt32LE(24), lost.readUInt32LE(28)]).to.deep.equal([
      32,
      2n ** 40n,
      9,
      0x21,
    ]);
  });
});

describe("the agent's answers", () => {
  it('keep numbers above 2^53', () => {
    const line = '{"t":"progress","seq":"18446744073709551615","applied":"9007199254740993","bytes":"0"}';
    expect(parseAnswer(line)).to.deep.equal({
      t: 'progress',
      seq: 18446744073709551615n,
      applied: 9007199254740993n,
      bytes: 0n,
    });
  });

  it('say that the disk is older than the instant, and since which effect', () => {
    const answer = parseAnswer('{"t":"waiting","from":"9007199254740993","op":"RENAME","ino":"12","gen":99}');
    if (answer.t !== 'waiting') throw new Error(`it is ${answer.t}`);
    expect(answer).to.include({ from: 9007199254740993n, op: 'RENAME', ino: 12n, gen: 99 });
    expect(describeWaiting(answer)).to.equal(
      'the disk is older: effect 9007199254740993 (RENAME) and those behind it wait for the birth of inode 12/99, ' +
        'whose number is higher, unless it is missing; a little later nothing waits',
    );
  });

  it('name the operation that differs, what was wanted and what was seen', () => {
    const line =
      '{"t":"mismatch","mismatch":{"seq":"17","op":"WRITE","ino":"12","gen":99,"what":"pwrite","wanted":"success","seen":"No space left on device","errno":28}}';
    const answer = parseAnswer(line);
    expect(answer.t === 'mismatch' && describeMismatch(answer.mismatch)).to.equal(
      'WRITE 17 on inode 12/99: pwrite: wanted success, seen No space left on device (errno 28)',
    );
  });

  it('of another form are a broken contract', () => {
    for (const line of ['', 'null', '{}', '{"t":"result"}', '{"t":"progress","seq":5}', '{"t":"stopped"', '[]']) {
      expect(() => parseAnswer(line), line).to.throw(LabError);
    }
  });
});

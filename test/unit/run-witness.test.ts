// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { entryPointsOf } from '../../lab/parts/witness.js';
import { judgeWitness, parseWitnessFile, type WitnessCounts, witnessLines } from '../../lab/run/witness.js';
import { CallCounter, parseCallAccount, type RecordedCalls } from '../../lab/trace/call-account.js';
import { indexRun } from '../../lab/trace/run-index.js';
import { LabError } from '../../lab/util/errors.js';
import { withRun } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

/** The plugin's file: magic, two samples of 9 words each, then the vCPUs' own. */
function witnessFile(began: readonly number[], accounted: readonly number[]): Buffer {
  const bytes = Buffer.alloc(192 + 64 * 64);
  bytes.write('LMNAWIT1', 'latin1');
  for (const [index, value] of [...began, ...accounted].entries()) bytes.writeBigUInt64LE(BigInt(value), 8 + 8 * index);
  return bytes;
}

//               times syscall sysenter int80 entry64 syscall32 sysenter int80 (unused)
const BEGAN = [1, 10, 0, 0, 10, 0, 0, 0, 0];
const ENDED = [1, 1110, 30, 20, 1010, 100, 25, 20, 0];
const counts: WitnessCounts = parseWitnessFile(witnessFile(BEGAN, ENDED), 'f');
const calls: RecordedCalls = {
  recorded: { entry64: 900n, ia32: 140n },
  account: { number: 1n, exempt: { entry64: 60n, ia32: 1n }, lost: { entry64: 40n, ia32: 4n } },
};
const sound = { dropped: 50n, elsewhere: 0n, isHonest: true };

describe("the witness's equation", () => {
  it('comes out if every executed call is recorded, lost, exempt, before the record, or refused by the processor', () => {
    const verdict = judgeWitness(counts, calls, sound);
    expect(verdict.faults).to.deep.equal([]);
    expect(witnessLines(verdict)[0]).to.equal(
      'witness: 1160 executed = 10 before the record + 5 refused by the processor + 1040 recorded + 44 declared lost + 61 exempt',
    );
    expect(verdict.instructions.map((row) => row.refused)).to.deep.equal([0n, 5n, 0n]);
  });

  it('fails by one call that is missing, or one too many, at either entry', () => {
    for (const [name, recorded] of [
      ['64-bit', { entry64: 899n, ia32: 140n }],
      ['64-bit', { entry64: 901n, ia32: 140n }],
      ['32-bit', { entry64: 900n, ia32: 139n }],
      // What is missing at one entry is not made up for by the other.
      ['32-bit', { entry64: 901n, ia32: 139n }],
    ] as const) {
      const verdict = judgeWitness(counts, { ...calls, recorded }, sound);
      expect(verdict.faults.join('\n'), JSON.stringify(verdict.faults)).to.include(name);
    }
    const { unexplained } = judgeWitness(counts, { ...calls, recorded: { entry64: 899n, ia32: 140n } }, sound);
    expect(unexplained).to.equal(1n);
  });

  it('cannot be stated without an account, with another one, or if the record began twice', () => {
    const faults = (c: WitnessCounts, r: RecordedCalls) => judgeWitness(c, r, sound).faults.join('\n');
    expect(judgeWitness(counts, calls, { ...sound, elsewhere: 1n }).faults.join()).to.match(/the part of one category/);
    expect(faults(counts, { recorded: calls.recorded, account: undefined })).to.include('without an account');
    const second = { ...calls, account: { ...calls.account, number: 2n } } as RecordedCalls;
    expect(faults(counts, second)).to.include('number 2');
    expect(faults({ ...counts, began: { ...counts.began, times: '2' } }, calls)).to.include('began 2 times');
    expect(faults({ ...counts, began: { ...counts.began, times: '0' } }, calls)).to.include('began 0 times');
  });

  it('fails if more entries are said to be lost than records were, or records are missing', () => {
    expect(judgeWitness(counts, calls, { ...sound, dropped: 43n }).faults.join()).to.include('only 43');
    expect(judgeWitness(counts, calls, { ...sound, isHonest: false }).faults).to.have.length(1);
  });

  it('fails if calls arrive in the kernel without an instruction', () => {
    const odd = parseWitnessFile(witnessFile(BEGAN, [1, 1110, 24, 20, 1010, 100, 25, 20, 0]), 'f');
    expect(judgeWitness(odd, calls, sound).faults.join()).to.include('sysenter: 1 calls arrived');
  });

  it('refuses a file that the witness did not write', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(4288), witnessFile(BEGAN, ENDED).subarray(0, 151)]) {
      expect(() => parseWitnessFile(bytes, 'f')).to.throw(LabError, 'not what the witness writes');
    }
  });
});

describe('the calls of a record', () => {
  it('are counted by the entry they came through, with the last account', async () => {
    const text = (n: number) =>
      `account=${n}\nexempt_calls=${n}0\nexempt_calls_ia32=1\nlost_calls=2\nlost_calls_ia32=3\n`;
    const subbufs = [
      b.subbuf([
        b.info('release=6.12\n'),
        b.entry(39),
        b.entry(20, [], [], { flags: 1 }),
        b.entry(39, [], [], { flags: 2 }),
      ]),
      b.subbuf([b.info(text(2)), b.exit(39, 1)], { cpu: 1 }),
      b.subbuf([b.info(text(1)), b.entry(20, [], [], { flags: 1 | 8 })], { cpu: 2 }),
    ];
    await withRun(subbufs, async (runDir) => {
      const counter = new CallCounter();
      await indexRun(runDir, { visit: (bytes, header) => counter.observe(bytes, header) });
      expect(counter.calls).to.deep.equal({
        recorded: { entry64: 2n, ia32: 2n },
        account: { number: 2n, exempt: { entry64: 20n, ia32: 1n }, lost: { entry64: 2n, ia32: 3n } },
      });
    });
  });

  it('take no other facts for an account', () => {
    for (const text of ['', 'release=6.12\nlossy=0\n', 'account=\n', 'account=x\n', 'account=0\n'])
      expect(parseCallAccount(text)).to.equal(undefined);
  });
});

describe("the kernel's entry points", () => {
  const map = [
    'ffffffff81000000 T _text',
    'ffffffff81800040 T entry_SYSCALL_64',
    'ffffffff81800140 t entry_SYSCALL_64_safe_stack',
    'ffffffff81801000 T entry_SYSENTER_compat',
    'ffffffff81801100 T entry_SYSCALL_compat',
    'ffffffff81801200 T asm_int80_emulation',
    '',
  ];

  it('are found in System.map', () => {
    expect(entryPointsOf(map.join('\n'))).to.deep.equal({
      entry64: 'ffffffff81800040',
      syscall32: 'ffffffff81801100',
      sysenter: 'ffffffff81801000',
      int80: 'ffffffff81801200',
    });
  });

  it('must all be there', () => {
    expect(() => entryPointsOf(map.slice(0, -2).join('\n'))).to.throw(LabError, 'asm_int80_emulation');
  });
});

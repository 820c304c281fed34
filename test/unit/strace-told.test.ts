// SPDX-License-Identifier: MIT
/** The comparison with what a guest program reports of itself must see each thing that can differ. */
import { expect } from 'chai';
import type { Capture } from '../../lab/trace/record.js';
import type { Entry, Exit, RecordedCall } from '../support/strace-pair.js';
import { compareReport, newToldTally, parseReport } from '../support/strace-told.js';

const MARGIN = 'a5a5';
/** ioctl(3, BLKBSZSET, 0x1000) and ioctl(3, BLKSSZGET, 0x1000) by x32. */
const TEXT = `thread 9
x32 202 3 40081271 1000 0 0 0 = -22
+ 2 in 4 00020000${MARGIN} 00020000${MARGIN}
x32 202 3 1268 1000 0 0 0 = 0
+ 2 out 4 a5a5a5a5${MARGIN} 00020000${MARGIN}
`;

function capture(hex: string): Capture {
  const bytes = Buffer.from(hex, 'hex');
  return {
    type: 'STRUCT',
    arg: 2,
    bytes,
    trueLen: bytes.length,
    isTruncated: false,
    isFault: false,
    isUnstable: true,
  };
}

/** As recorded; the fields that the comparison does not look at are left out. */
function call(entry: Partial<Entry>, exit: Partial<Exit>): RecordedCall {
  const both = { abi: 'x32', nr: 514, captures: [] } as const;
  return {
    entry: { kind: 'entry', ...both, ...entry } as Entry,
    exit: { kind: 'exit', ...both, ...exit } as Exit,
  };
}

const SET = call({ args: [3n, 0x40081271n, 0x1000n], captures: [capture('00020000')] }, { ret: -22n });
const GET = call({ args: [3n, 0x1268n, 0x1000n] }, { ret: 0n, captures: [capture('00020000')] });
/** libc's own. */
const OTHER = call({ abi: '64', nr: 1, args: [1n] }, { abi: '64', nr: 1, ret: 1n });

function differences(calls: readonly RecordedCall[], text = TEXT): string {
  const tally = newToldTally();
  compareReport('r', parseReport(text), calls, tally);
  return tally.differences.join('\n');
}

describe('the comparison with a report', () => {
  it('finds nothing where both say the same', () => {
    expect(differences([OTHER, SET, OTHER, GET])).to.equal('');
  });

  it('sees each thing that differs', () => {
    const { entry, exit } = GET;
    expect(differences([SET, call({ ...entry, abi: '64' }, { ...exit })])).to.match(/is not in the record/);
    expect(differences([SET, call({ ...entry, abi: 'ia32' }, { ...exit })])).to.match(/is ia32 514/);
    expect(differences([SET, call({ ...entry, nr: 515 }, { ...exit })])).to.match(/is x32 515/);
    expect(differences([SET, call({ ...entry, args: [4n, 0x1268n, 0x1000n] }, { ...exit })])).to.match(/argument 0/);
    expect(differences([SET, call({ ...entry, args: [3n, 0x1268n] }, { ...exit })])).to.match(
      /3 arguments, of which 2/,
    );
    expect(differences([SET, call(entry, { ...exit, ret: 1n })])).to.match(/returned 1/);
    expect(differences([SET, call(entry, { ...exit, abi: '64' })])).to.match(/ends as 64 514/);
    expect(differences([SET, { entry }])).to.match(/no result/);
    expect(differences([SET])).to.match(/is not in the record/);
    expect(differences([SET, GET, GET])).to.match(/ends before x32 514/);
  });

  it('sees memory that is missing, too much, too short, or another', () => {
    const { entry, exit } = GET;
    const at = (hex: string): RecordedCall => call(entry, { ...exit, captures: [capture(hex)] });
    expect(differences([SET, at('00020001')])).to.match(/captured at exit as 00020001/);
    expect(differences([SET, at('0002')])).to.match(/has 4 bytes, of which 2/);
    expect(differences([SET, at('0002000000000000')])).to.match(/has 4 bytes, of which 8/);
    expect(differences([SET, call(entry, { ...exit, captures: [] })])).to.match(/not captured at exit/);
    expect(differences([SET, call({ ...entry, captures: [capture('00020000')] }, exit ?? {})])).to.match(
      /was captured at entry/,
    );
    const set = SET.entry;
    expect(differences([call({ ...set, captures: [] }, SET.exit ?? {}), GET])).to.match(/not captured at entry/);
    expect(differences([call(set, { ret: -22n, captures: [capture('00020000')] }), GET])).to.match(/captured at exit/);
    const past = TEXT.replace(`00020000${MARGIN}\n`, '00020000a500\n');
    expect(differences([SET, GET], past)).to.match(/written past its 4 bytes/);
  });

  it('takes nothing else for a report', () => {
    expect(() => parseReport('')).to.throw(/names no thread/);
    expect(() => parseReport('thread 1\nnonsense\n')).to.throw(/nonsense/);
  });
});

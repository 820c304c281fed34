// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { emitSyscallHeader } from '../../lab/abi/emit-syscalls.js';
import { readSyscallFacts } from '../../lab/abi/generate.js';
import {
  abiOf,
  compatArgs,
  joinWithFacts,
  parseArgs,
  RESERVED,
  ROWS_64,
  ROWS_IA32,
  syscallName,
} from '../../lab/abi/syscalls.js';

describe('system-call table', () => {
  it('agrees with the facts read from the kernel source', () => {
    expect(joinWithFacts(readSyscallFacts())).to.deep.equal([]);
  });

  it('notices a call that is missing, renamed, or takes another number of arguments', () => {
    const facts = readSyscallFacts();
    expect(joinWithFacts(`${facts}64 400 brand_new 2\n`)).to.have.length(1);
    expect(joinWithFacts(facts.replace('64 0 read 3', '64 0 reed 3'))).to.match(/reed/);
    expect(joinWithFacts(facts.replace('64 0 read 3', '64 0 read 4')).join()).to.match(
      /takes 4 arguments, the table 3/,
    );
    expect(joinWithFacts(facts.replace('64 0 read 3\n', '')).join()).to.match(/the kernel does not/);
  });

  for (const [abi, rows] of [
    ['64', ROWS_64],
    ['ia32', ROWS_IA32],
  ] as const) {
    it(`covers every number from 0 to the last of ${abi} exactly once`, () => {
      const seen = new Map<number, number>();
      const count = (nr: number): void => void seen.set(nr, (seen.get(nr) ?? 0) + 1);
      for (const row of rows) count(row.nr);
      for (const [first, last] of RESERVED[abi]) for (let nr = first; nr <= last; nr++) count(nr);
      const last = Math.max(...seen.keys());
      for (let nr = 0; nr <= last; nr++) expect(seen.get(nr), `number ${nr}`).to.equal(1);
    });

    it(`has only rows of ${abi} that the language can say, pointing at other arguments`, () => {
      for (const row of rows)
        for (const [i, arg] of parseArgs(row).entries())
          if (['in', 'out', 'sock', 'iov'].includes(arg.word))
            expect(arg.p, `${row.name} argument ${i}`).not.to.equal(i);
    });
  }

  it('follows no pointer whose layout differs under compat', () => {
    for (const row of [...ROWS_IA32, ...ROWS_64.filter((r) => r.nr >= 512)])
      expect(row.args, row.name).to.equal(compatArgs(row.args));
    expect(compatArgs('path strv iov:2 sin:8 in:1')).to.equal('path ptr ptr ptr in:1');
  });

  it('refuses words that are not in the language', () => {
    for (const args of ['integer', 'in', 'in:7', 'sin:12', 'sout:0', 'int:1', 'int int int int int int int'])
      expect(() => parseArgs({ name: 'x', args }), args).to.throw(/x has/);
  });

  it('gives a reason for every call whose changes are not rebuilt', () => {
    for (const row of [...ROWS_64, ...ROWS_IA32]) expect(row.fs).to.match(/^(replayed|none|unsupported: .{10,})$/);
  });

  it('names calls by ABI, x32 by its own numbers too', () => {
    expect(syscallName(1, '64')).to.equal('write');
    expect(syscallName(1, 'ia32')).to.equal('exit');
    expect(syscallName(1, 'x32')).to.equal('write');
    expect(syscallName(520, 'x32')).to.equal('execve');
    expect(syscallName(400, '64')).to.equal('syscall_400');
    expect([abiOf(0), abiOf(1), abiOf(2), abiOf(0x301)]).to.deep.equal(['64', 'ia32', 'x32', 'ia32']);
  });

  it('writes a C row for each number, and one for each range that nobody has', () => {
    const header = emitSyscallHeader();
    expect(header).to.contain('[336 ... 423] = { 6 },');
    expect(header).to.contain(
      '/* execve */\n\t[59] = { 3, {\n\t\t{ LEMONA_ARG_PATH, 0 }, { LEMONA_ARG_STRV, 0 }, { LEMONA_ARG_STRV, 0 }',
    );
    expect(header.match(/^\t\/\* .* \*\/$/gm)).to.have.length(
      ROWS_64.length + ROWS_IA32.length + RESERVED['64'].length + RESERVED.ia32.length,
    );
  });
});

// SPDX-License-Identifier: MIT
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseConfig } from '../../guest-kernel/kconfig.js';
import { ARG_FLAGS, ARG_KINDS, LEN_RULES, parseArgs, parseWord, UNBOUNDED } from '../../lab/abi/arguments.js';
import { COMMAND_TABLES, commandArg, commandRow, commandTable, SOCKETCALLS } from '../../lab/abi/commands.js';
import { emitCoverageDoc } from '../../lab/abi/emit-coverage.js';
import { captured, emitSyscallHeader } from '../../lab/abi/emit-syscalls.js';
import { readSyscallFacts } from '../../lab/abi/generate.js';
import { OP } from '../../lab/abi/layout.js';
import { parseEffect } from '../../lab/abi/syscall-row.js';
import {
  abiOf,
  joinWithFacts,
  layoutOf,
  RESERVED,
  ROWS_64,
  ROWS_IA32,
  ROWS_X32,
  syscallName,
  syscallRow,
} from '../../lab/abi/syscalls.js';
import { URING_OPS } from '../../lab/abi/uring.js';
import { FORMAT_NAMES } from '../../lab/trace/values.js';

const ALL_ROWS = [...ROWS_64, ...ROWS_X32, ...ROWS_IA32];

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

  it('claims of what this kernel lacks are lines of its configuration', () => {
    const config = parseConfig(readFileSync('guest-kernel/config/base.config', 'utf8'), 'base.config');
    const claims = emitCoverageDoc().matchAll(/CONFIG_(\w+)=n/g);
    const symbols = new Set([...claims].map(([, symbol = '']) => symbol));
    expect([...symbols]).to.include.members(['KEXEC', 'X86_IOPL_IOPERM', 'BLK_DEV_NBD']);
    for (const symbol of symbols) expect(config.get(symbol), symbol).to.equal('n');
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
  }

  it('has only rows that the language can say, of formats that can be shown', () => {
    for (const row of ALL_ROWS)
      for (const arg of parseArgs(row)) {
        if (arg.format !== undefined) expect(FORMAT_NAMES.has(arg.format), `${row.name}: ${arg.format}`).to.equal(true);
        if (arg.table !== undefined) expect(() => commandTable(arg.table ?? ''), row.name).not.to.throw();
      }
  });

  it('names the arguments to look at when a call is entered, and when it returns', () => {
    const of = (name: string) => captured(parseArgs(ALL_ROWS.find((row) => row.name === name) ?? { name, args: '?' }));
    expect(of('getppid')).to.deep.equal({ entry: 0, exit: 0 });
    expect(of('write')).to.deep.equal({ entry: 0b10, exit: 0 });
    expect(of('read')).to.deep.equal({ entry: 0, exit: 0b10 });
    expect(of('execve')).to.deep.equal({ entry: 0b111, exit: 0 });
    expect(of('poll')).to.deep.equal({ entry: 1, exit: 1 });
    expect(of('ioctl')).to.deep.equal({ entry: 0b100, exit: 0b100 });
    expect(of('socketcall')).to.deep.equal({ entry: 0b10, exit: 0b10 });
    for (const row of ALL_ROWS) {
      const args = parseArgs(row);
      const { entry, exit } = captured(args);
      const isMemory = args.reduce((mask, { kind }, i) => mask | (kind === 'VALUE' ? 0 : 1 << i), 0);
      expect(entry | exit, row.name).to.equal(isMemory);
    }
  });

  it('says of every call what it can do to a filesystem, with operations of the effect plane, or the reason', () => {
    for (const row of ALL_ROWS) {
      const { kind, ops, note } = parseEffect(row.effect);
      for (const op of ops) expect(OP, `${row.name}: ${op}`).to.have.property(op);
      if (kind === 'unsupported') expect(note, row.name).to.match(/TAINT|nothing is recorded/);
    }
    expect(() => parseEffect('perhaps')).to.throw(/perhaps/);
  });

  it('gives an ia32 call the effect of its 64-bit twin', () => {
    for (const [nr, name] of [
      [193, 'truncate64'],
      [212, 'chown32'],
      [412, 'utimensat_time64'],
      [250, 'fadvise64'],
    ] as const) {
      const row = syscallRow(nr, 'ia32');
      expect(row?.name).to.equal(name);
      const base =
        ROWS_64.find((r) => r.name === name) ?? ROWS_64.find((r) => r.name === name.replace(/(_time)?(64|32)$/, ''));
      expect(row?.effect, name).to.equal(base?.effect);
    }
  });

  it('gives compat calls the sizes of compat layouts', () => {
    const compat = new Map([...ROWS_IA32, ...ROWS_X32].map((r) => [r.name, r.args]));
    expect(compat.get('setrlimit')).to.equal('int in:8=u32s');
    expect(compat.get('kexec_load')).to.equal('int int in:16*@1 int');
    expect(layoutOf(0, 'ia32')).to.equal('ia32');
    expect(layoutOf(1, 'x32')).to.equal('64');
    expect(layoutOf(520, 'x32')).to.equal('x32');
    // A shared number whose code asks in_compat_syscall().
    expect(layoutOf(317, 'x32')).to.equal('x32');
    expect(layoutOf(317, '64')).to.equal('64');
  });

  it('gives a number that only x32 has no name elsewhere', () => {
    expect(syscallName(515, 'x32')).to.equal('readv');
    expect(syscallName(515, '64')).to.equal('syscall_515');
  });

  it('knows what of compat is of ia32 alone', () => {
    const sizes = (value: bigint, table: string) => {
      const row = commandRow(table, value);
      if (row === undefined) throw new Error('no such command');
      return (['64', 'ia32', 'x32'] as const).map((layout) => commandArg(row, layout).size);
    };
    expect(sizes(0x8906n, 'ioctl')).to.deep.equal([16, 8, 16]);
    expect(sizes(12n, 'ptrace')).to.deep.equal([216, 68, 216]);
    expect(sizes(22n, 'prctl-2')).to.deep.equal([16, 8, 8]);
  });

  it('names calls by ABI, x32 by its own numbers too', () => {
    expect(syscallName(1, '64')).to.equal('write');
    expect(syscallName(1, 'ia32')).to.equal('exit');
    expect(syscallName(1, 'x32')).to.equal('write');
    expect(syscallName(520, 'x32')).to.equal('execve');
    expect(syscallName(400, '64')).to.equal('syscall_400');
    expect([abiOf(0), abiOf(1), abiOf(2), abiOf(0x301)]).to.deep.equal(['64', 'ia32', 'x32', 'ia32']);
  });
});

describe('the name of a number', () => {
  it('is no name of a call where the number is one that was skipped, or does not fit', () => {
    expect(syscallName(0xffff, '64', true)).to.equal('syscall_-1');
    expect(syscallName(0xffff, '64')).to.equal('execve|rt_sigreturn');
    expect(syscallName(0xfffe, '64', true)).to.equal('syscall_beyond');
  });
});

describe('the language of arguments', () => {
  it('reads directions, lengths, shapes and formats', () => {
    expect(parseWord('in:@2')).to.include({ kind: 'BYTES', rule: 'ARG', k: 2, size: 1, add: 0, word: 'in' });
    expect(parseWord('out:ret@2i')).to.deep.include({ kind: 'BYTES', rule: 'RET', k: 2, flags: ['OUT', 'INT'] });
    expect(parseWord('out:ret')).to.include({ rule: 'RET', k: UNBOUNDED });
    expect(parseWord('io:8*@1i=pollfds')).to.deep.include({
      kind: 'STRUCT',
      rule: 'ARG',
      size: 8,
      flags: ['IN', 'OUT', 'INT'],
      format: 'pollfds',
    });
    expect(parseWord('in:8+self0')).to.include({ kind: 'BYTES', rule: 'SELF', k: 0, size: 1, add: 8 });
    expect(parseWord('in:own4/64')).to.include({ kind: 'BYTES', rule: 'OWN', k: 4, size: 1, add: 64 });
    expect(parseWord('in:own4')).to.equal(undefined);
    expect(parseWord('in:self4/64')).to.equal(undefined);
    expect(parseWord('in:bits@4-1')).to.include({ rule: 'BITS', k: 4, add: 1 });
    expect(parseWord('out:sock:u32@2')).to.include({ kind: 'SOCKADDR', rule: 'U32', k: 2 });
    expect(parseWord('in:msg')).to.include({ kind: 'MSG', rule: 'FIXED' });
    expect(parseWord('in:ptrs:64*@1')).to.include({ kind: 'PTRS', size: 64, k: 1 });
    expect(parseWord('out+:144')).to.deep.include({ kind: 'STRUCT', flags: ['POSITIVE'], size: 144 });
    expect(parseWord('by*:0:capget')).to.deep.include({ kind: 'BY', flags: ['DEREF'], table: 'capget' });
  });

  it('refuses words that are not in it', () => {
    for (const args of [
      'integer',
      'in',
      'in:@7',
      'in:@0',
      'in:',
      'in:0',
      'in:msg:8',
      'in:self',
      'out:ret2',
      'out:8-1',
      'int:1',
      'int=x',
      'by:0:fcntl',
      'by:9:fcntl',
      'int int int int int int int',
    ])
      expect(() => parseArgs({ name: 'x', args }), args).to.throw(/x has/);
  });

  it('decides by command, mask and shift', () => {
    expect(commandRow('fcntl', 7n)?.[0]).to.equal('F_SETLKW');
    expect(commandRow('futex', 0x189n)?.[0]).to.equal('FUTEX_WAIT_BITSET');
    expect(commandRow('quotactl', 0x80000700n)?.[0]).to.equal('Q_GETQUOTA');
    expect(commandRow('shmctl', 0x102n)?.[0]).to.equal('IPC_STAT');
    expect(commandRow('ioctl', 0xffff_ffff_0000_5401n)?.[0]).to.equal('TCGETS');
    expect(commandRow('ioctl', 0x1234n)).to.equal(undefined);
    expect(() => commandTable('no-such')).to.throw(/no-such/);
  });

  it('has each command once, in words that need no other command, and effects that can be taken apart', () => {
    for (const t of COMMAND_TABLES) {
      expect(new Set(t.rows.map((r) => r[1])).size, t.name).to.equal(t.rows.length);
      for (const row of t.rows) {
        for (const layout of ['64', 'ia32', 'x32'] as const) {
          const { format } = commandArg(row, layout);
          if (format !== undefined) expect(FORMAT_NAMES.has(format), `${row[0]}: ${format}`).to.equal(true);
        }
        const { kind, ops, note } = parseEffect(row[3] ?? 'none');
        for (const op of ops) expect(OP, `${row[0]}: ${op}`).to.have.property(op);
        if (kind === 'unsupported') expect(note, row[0]).to.match(/TAINT|nothing is recorded/);
      }
    }
    expect(() => commandArg(['X', 1, 'by:0:fcntl'], '64')).to.throw(/X has/);
  });

  it('uses every table, kind, flag and rule', () => {
    const descs = ALL_ROWS.flatMap((r) => parseArgs(r));
    const words = new Set(descs.map((d) => d.table));
    for (const t of COMMAND_TABLES) expect(words.has(t.name), t.name).to.equal(true);
    const all = [...descs, ...COMMAND_TABLES.flatMap((t) => t.rows.map((r) => commandArg(r, '64')))];
    for (const { name } of ARG_KINDS)
      expect(
        all.some((d) => d.kind === name),
        name,
      ).to.equal(true);
    for (const { name } of ARG_FLAGS)
      expect(
        all.some((d) => d.flags.includes(name)),
        name,
      ).to.equal(true);
    for (const { name } of LEN_RULES)
      expect(
        all.some((d) => d.rule === name),
        name,
      ).to.equal(true);
  });

  it('knows as many arguments inside of socketcall as the inner calls have, or fewer', () => {
    for (const [, name, count] of SOCKETCALLS) {
      const row = ROWS_IA32.find((r) => r.name === name);
      expect(row, name).not.to.equal(undefined);
      expect(parseArgs(row ?? { name, args: '' }).length, name).to.be.at.least(count);
    }
  });
});

describe('what is generated from the tables', () => {
  it('is a C row for each number, and one for each range that nobody has', () => {
    const header = emitSyscallHeader();
    expect(header).to.contain('[336 ... 423] = { 6 },');
    expect(header).to.contain(
      '/* execve */\n\t[59] = { 3, 0, 0x7, 0x0, {\n\t\t{ LEMONA_ARG_STRING, 0x1, LEMONA_LEN_FIXED, 0, 0, 0 },',
    );
    const tables = header.slice(header.indexOf('lemona_sys64[]'));
    expect(tables.match(/^\t\/\* .* \*\/$/gm)).to.have.length(
      ALL_ROWS.length + RESERVED['64'].length + RESERVED.ia32.length + URING_OPS.length,
    );
  });

  it('has the commands in ascending order, as the kernel searches them', () => {
    for (const [, body = ''] of emitSyscallHeader().matchAll(/lemona_by_\w+\[\] = \{\n(.*?)\n\};/gs)) {
      const numbers = [...body.matchAll(/\t\{\n\t\t(0x[0-9a-f]+),/g)].map((m) => Number(m[1]));
      expect(numbers).to.deep.equal([...numbers].sort((a, b) => a - b));
      expect(numbers).not.to.have.length(0);
    }
  });

  it("has each operation of io_uring do what the system call does that does the same, and the ring's call all of it", () => {
    const alike: Readonly<Record<string, string>> = {
      ...{
        read_fixed: 'read',
        write_fixed: 'write',
        read_multishot: 'read',
        fadvise: 'fadvise64',
        renameat: 'renameat2',
      },
      ...{ send: 'sendto', send_zc: 'sendto', sendmsg_zc: 'sendmsg', recv: 'recvfrom' },
    };
    const calls = new Map(ROWS_64.map((row) => [row.name, row.effect]));
    const compared = URING_OPS.filter((op) => calls.has(alike[op.name] ?? op.name));
    for (const op of compared) expect(op.effect, op.name).to.equal(calls.get(alike[op.name] ?? op.name));
    expect(compared).to.have.length.above(40);
    const enter = parseEffect(calls.get('io_uring_enter') ?? '').ops;
    for (const op of URING_OPS) expect(enter, op.name).to.include.members([...parseEffect(op.effect).ops]);
  });

  it('tells people of every call and every ioctl', () => {
    const doc = emitCoverageDoc();
    for (const row of ALL_ROWS) expect(doc).to.contain(`| ${row.nr} | ${row.name} |`);
    for (const row of commandTable('ioctl').table.rows) expect(doc).to.contain(`| ${row[0]} | 0x`);
    expect(doc).to.match(/\| 167 \| swapon \| `path int` \| \*\*not rebuilt\*\* \| .*TAINT/);
  });
});

// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { argvOf } from '../../lab/trace/calls.js';
import { decodeRecord } from '../../lab/trace/record.js';
import { describeRecord } from '../../lab/trace/render.js';
import { fdSetText, formatBytes, ioctlText, openFlagsText, sockaddrText } from '../../lab/trace/values.js';
import * as b from '../support/trace-builder.js';

function describeCall(record: Buffer): string {
  return describeRecord(decodeRecord(record, 0, { cpu: 0, monoNs: 0n, realNs: 0n }));
}

function sockaddr(family: number, rest: readonly number[] | Buffer): Buffer {
  return Buffer.concat([Buffer.from([family, 0]), Buffer.from(rest)]);
}

function words(...values: number[]): Buffer {
  const buf = Buffer.alloc(4 * values.length);
  for (const [i, v] of values.entries()) buf.writeInt32LE(v, 4 * i);
  return buf;
}

describe('values of system calls', () => {
  it('show socket addresses', () => {
    expect(sockaddrText(sockaddr(2, [0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]))).to.equal('127.0.0.1:80');
    const v6 = (address: readonly number[]): Buffer => sockaddr(10, [0x1f, 0x90, 0, 0, 0, 0, ...address, 0, 0, 0, 0]);
    expect(sockaddrText(v6([...Array<number>(15).fill(0), 1]))).to.equal('[::1]:8080');
    expect(sockaddrText(v6(Array<number>(16).fill(0)))).to.equal('[::]:8080');
    expect(sockaddrText(v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]))).to.equal(
      '[fe80::abcd]:8080',
    );
    expect(sockaddrText(v6([0x20, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 4]))).to.equal('[2001:0:2::3:4]:8080');
    expect(sockaddrText(sockaddr(1, Buffer.from('/run/x\0junk')))).to.equal('unix:"/run/x"');
    expect(sockaddrText(sockaddr(1, Buffer.from('\0abstract')))).to.equal('unix:@"abstract"');
    expect(sockaddrText(sockaddr(1, []))).to.equal('unix:unnamed');
    expect(sockaddrText(sockaddr(2, [0, 80]))).to.equal('family2:0050');
    expect(sockaddrText(Buffer.from([7]))).to.equal('07');
    expect(sockaddrText(Buffer.alloc(0))).to.equal('none');
  });

  it('show open flags, with what several bits mean first', () => {
    expect(openFlagsText(0o2000000n)).to.equal('O_RDONLY|O_CLOEXEC');
    expect(openFlagsText(0o1101n)).to.equal('O_WRONLY|O_CREAT|O_TRUNC');
    expect(openFlagsText(0o4010002n)).to.equal('O_RDWR|O_SYNC');
    expect(openFlagsText(0o10000n)).to.equal('O_RDONLY|O_DSYNC');
    expect(openFlagsText(0o20200001n)).to.equal('O_WRONLY|O_TMPFILE');
    expect(openFlagsText(0o200000n)).to.equal('O_RDONLY|O_DIRECTORY');
    expect(openFlagsText(0x8000_0000n)).to.equal('O_RDONLY|0x80000000');
  });

  it('show numbers, times and sets, and leave alone what does not fit', () => {
    expect(formatBytes(words(3, -1), 'i32s')).to.equal('[3 -1]');
    expect(formatBytes(words(7), 'i32s')).to.equal('7');
    expect(formatBytes(Buffer.from([5, 0, 0, 0, 1, 0, 4, 0]), 'pollfds')).to.equal('5:0x1:0x4');
    expect(formatBytes(words(1, 0, 500, 0), 'time')).to.equal('1s+500');
    expect(formatBytes(Buffer.from([1, 0, 4, 0, 0, 0, 0, 0]), 'sigset')).to.equal('{1 19}');
    expect(formatBytes(Buffer.from('eth0\0\0'), 'str')).to.equal('"eth0"');
    expect(formatBytes(words(...Array<number>(20).fill(1)), 'i32s')).to.match(/1 …\]$/);
    expect(formatBytes(Buffer.alloc(3), 'i32s')).to.equal(undefined);
    expect(formatBytes(Buffer.alloc(100), 'stat')).to.equal(undefined);
    expect(formatBytes(Buffer.alloc(4), undefined)).to.equal(undefined);
    expect(fdSetText(Buffer.from([0b1001, 0, 1, 0, 0, 0, 0, 0]))).to.equal('{0 3 16}');
    expect(ioctlText(0x5413n)).to.equal('TIOCGWINSZ');
    expect(ioctlText(0xdeadn)).to.equal('0xdead');
  });
});

describe('system calls as text', () => {
  it('name flags, modes and commands, and follow a command to its argument', () => {
    expect(describeCall(b.entry(257, [-100, 4096, 0o101, 0o644], [b.tlv('PATH', '/a', { arg: 1 })]))).to.equal(
      'openat(-100, "/a", O_WRONLY|O_CREAT, 0644)',
    );
    expect(describeCall(b.entry(16, [0, 0x5410, 8192], [b.tlv('STRUCT', words(77), { arg: 2 })]))).to.equal(
      'ioctl(0, TIOCSPGRP, 77)',
    );
    expect(describeCall(b.entry(16, [0, 0x5412, 8192], [b.tlv('STRUCT', 'w', { arg: 2 })]))).to.equal(
      'ioctl(0, TIOCSTI, "w")',
    );
    expect(describeCall(b.entry(72, [3, 2, 1]))).to.equal('fcntl(3, 2, 1)');
  });

  it('show a message as its address, bytes and control', () => {
    const tlvs = [
      b.tlv('STRUCT', Buffer.alloc(56), { arg: 1 }),
      b.tlv('SOCKADDR', sockaddr(1, Buffer.from('/s\0')), { arg: 1 }),
      b.tlv('IOVEC', 'hello', { arg: 1, trueLen: 500 }),
      b.tlv('CONTROL', Buffer.from([1]), { arg: 1 }),
    ];
    expect(describeCall(b.entry(46, [3, 4096, 0], tlvs))).to.equal('sendmsg(3, unix:"/s" "hello"…500 "\\x01", 0)');
    expect(describeCall(b.entry(47, [3, 4096, 0]))).to.equal('recvmsg(3, 0x1000, 0)');
  });

  it('show socketcall as the call that it makes', () => {
    const flags = FLAG.F_ABI_IA32;
    const tlvs = [
      b.tlv('STRUCT', words(3, 4096, 16), { arg: 1 }),
      b.tlv('SOCKADDR', sockaddr(2, [0, 22, 10, 0, 0, 1]), { arg: 9 }),
    ];
    expect(describeCall(b.entry(102, [3, 8192], tlvs, { flags }))).to.equal(
      'ia32:socketcall(connect(3, 10.0.0.1:22, 16))',
    );
    expect(describeCall(b.entry(102, [3, 8192], [], { flags }))).to.equal('ia32:socketcall(3, 0x2000)');
  });

  it('tell the arguments of a program from its environment', () => {
    const [argv, env] = [1, 2].map((arg) => b.tlv('STRV', `arg${arg}\0`, { arg })) as [Buffer, Buffer];
    const late = b.tlv('STRV', 'arg3\0', { arg: 3 });
    const given = (nr: number, tlvs: readonly Buffer[], flags = 0): string => {
      const record = decodeRecord(b.entry(nr, [1, 2, 3], tlvs, { flags }), 0, { cpu: 0, monoNs: 0n, realNs: 0n });
      return record.kind === 'entry' ? (argvOf(record)?.bytes.toString('latin1') ?? 'none') : record.kind;
    };
    expect(given(59, [argv, env])).to.equal('arg1\0');
    expect(given(59, [env])).to.equal('none');
    expect(given(322, [env, late])).to.equal('arg2\0');
    expect(given(322, [late])).to.equal('none');
    expect(given(11, [env], FLAG.F_ABI_IA32)).to.equal('none');
  });

  it('show what a call wrote, and that something found no room', () => {
    expect(describeCall(b.exit(22, 0, [b.tlv('STRUCT', words(3, 4))]))).to.equal('pipe = 0 arg0=[3 4]');
    expect(describeCall(b.exit(23, 1, [b.tlv('BUF_OUT', Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), { arg: 1 })]))).to.equal(
      'select = 1 arg1={1}',
    );
    expect(describeCall(b.exit(0, 3, [b.tlv('BUF_OUT', 'abc', { arg: 1, flags: FLAG.TLV_F_FAULT })]))).to.equal(
      'read = 3 arg1="abc"!fault',
    );
    expect(describeCall(b.entry(307, [3, 4096, 20, 0], [], { flags: FLAG.F_CUT }))).to.match(/ cut$/);
  });
});

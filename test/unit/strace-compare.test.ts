// SPDX-License-Identifier: MIT
/** The comparison with strace must see a difference of one byte, or it proves nothing. */
import { expect } from 'chai';
import { parseWord } from '../../lab/abi/arguments.js';
import type { Capture } from '../../lab/trace/record.js';
import { compareArg, compareTail, type RecordedArg } from '../support/strace-compare.js';
import { numbersIn, parseBytes, parseNumber, parseResult, parseStrace } from '../support/strace-parse.js';

function capture(type: Capture['type'], bytes: Buffer | string, trueLen?: number): Capture {
  const buffer = Buffer.from(bytes);
  return {
    type,
    arg: 0,
    bytes: buffer,
    trueLen: trueLen ?? buffer.length,
    isTruncated: trueLen !== undefined && trueLen > buffer.length,
    isFault: false,
    isUnstable: true,
  };
}

function arg(word: string, atEntry: readonly Capture[], atExit: readonly Capture[] = []): RecordedArg {
  return { value: 0x7ffc_0000_1000n, desc: parseWord(word), atEntry, atExit, isCompat: false };
}

function longs(...values: bigint[]): Buffer {
  const buf = Buffer.alloc(8 * values.length);
  for (const [i, v] of values.entries()) buf.writeBigInt64LE(v, 8 * i);
  return buf;
}

/** Every byte that is compared, changed by one bit, must be a difference. */
function expectEveryByteMatters(call: string, text: string, word: string, type: Capture['type'], bytes: Buffer): void {
  expect(compareArg(call, text, arg(word, [], [capture(type, bytes)])), text).to.equal('equal');
  for (let i = 0; i < bytes.length; i++) {
    const changed = Buffer.from(bytes);
    changed[i] = (changed[i] ?? 0) ^ 1;
    expect(compareArg(call, text, arg(word, [], [capture(type, changed)])), `${text} byte ${i}`).to.match(/^differs/);
  }
}

describe("strace's output", () => {
  it('is taken apart into calls, arguments and results', () => {
    const calls = parseStrace(
      [
        'poll([{fd=3, events=0x1}], 1, 100)      = 1 ([{fd=3, revents=0x1}])',
        '--- SIGCHLD {si_signo=17, si_code=0x1} ---',
        'utime("\\x61", {actime=5 /* 1970-01-01T00:00:05+0000 */, modtime=6}) = 0',
        'read(0,  <unfinished ...>)              = ?',
        'nanosleep({tv_sec=2, tv_nsec=0}, NULL) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)',
        'access("\\x61", 0x4)                     = -1 ENOENT (No such file or directory)',
        'umask(022)                              = 077',
        '+++ exited with 0 +++',
        '',
      ].join('\n'),
    );
    expect(calls.map((c) => [c.name, ...c.args])).to.deep.equal([
      ['poll', '[{fd=3, events=0x1}]', '1', '100'],
      ['utime', '"\\x61"', '{actime=5 /* 1970-01-01T00:00:05+0000 */, modtime=6}'],
      ['read', '0'],
      ['nanosleep', '{tv_sec=2, tv_nsec=0}', 'NULL'],
      ['access', '"\\x61"', '0x4'],
      ['umask', '022'],
    ]);
    expect(calls.map((c) => parseResult(c.ret))).to.deep.equal([1n, 0n, undefined, -516n, -2n, 63n]);
    expect(() => parseStrace('nonsense')).to.throw(/nonsense/);
  });

  it('has numbers in C, joined by bars, and bytes in hexadecimal', () => {
    expect(parseNumber('-100')).to.equal(-100n);
    expect(parseNumber('0644')).to.equal(0o644n);
    expect(parseNumber('0xf|0x30')).to.equal(0x3fn);
    expect(parseNumber('NULL')).to.equal(0n);
    expect(parseNumber('{a=1}')).to.equal(undefined);
    expect(parseBytes('"\\x61\\xff"...')).to.deep.equal({ bytes: Buffer.from([0x61, 0xff]), isCut: true });
    expect(parseBytes('0x8')).to.equal(undefined);
    expect(numbersIn('[{tv_sec=1 /* 1970 */, tv_nsec=-2}, "\\x33", 0x4]')).to.deep.equal([1n, -2n, 4n]);
  });
});

describe('the comparison with strace', () => {
  it('sees every byte of strings, structures, sets, addresses and vectors', () => {
    expectEveryByteMatters('read', '"\\x61\\x62\\x63"', 'out:ret@2', 'BUF_OUT', Buffer.from('abc'));
    expectEveryByteMatters('nanosleep', '{tv_sec=2, tv_nsec=5}', 'out:16=time', 'STRUCT', longs(2n, 5n));
    expectEveryByteMatters('pipe2', '[3, 4]', 'out:8=i32s', 'STRUCT', Buffer.from([3, 0, 0, 0, 4, 0, 0, 0]));
    expectEveryByteMatters('select', '[3 9]', 'out:bits@0i', 'BUF_OUT', Buffer.from([8, 2, 0, 0, 0, 0, 0, 0]));
    expectEveryByteMatters(
      'rt_sigprocmask',
      '~[1 64]',
      'out:8=sigset',
      'STRUCT',
      Buffer.from([0xfe, ...Array<number>(6).fill(0xff), 0x7f]),
    );
    expectEveryByteMatters(
      'bind',
      '{sa_family=0x2, sin_port="\\x00\\x50", sin_addr="\\x7f\\x00\\x00\\x01"}',
      'out:sock:u32@2',
      'SOCKADDR',
      Buffer.from([2, 0, 0, 80, 127, 0, 0, 1]),
    );
    expectEveryByteMatters(
      'readv',
      '[{iov_base="\\x61\\x62", iov_len=2}, {iov_base="\\x63", iov_len=9}]',
      'out:iov:@2',
      'IOVEC',
      Buffer.from('abc'),
    );
    expectEveryByteMatters(
      'capget',
      '{effective=0x1|0x2, permitted=0x3|0x4, inheritable=0}',
      'out:24=x32s',
      'STRUCT',
      Buffer.from([1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]),
    );
    expectEveryByteMatters(
      'wait4',
      '[{WIFEXITED(s) && WEXITSTATUS(s) == 7}]',
      'out+:4=x32s',
      'STRUCT',
      Buffer.from([0, 7, 0, 0]),
    );
    expectEveryByteMatters(
      'wait4',
      '[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]',
      'out+:4=x32s',
      'STRUCT',
      Buffer.from([9, 0, 0, 0]),
    );
  });

  it('sees a length that differs, and does not take a part for the whole', () => {
    const text = '"\\x61\\x62\\x63"';
    expect(compareArg('read', text, arg('out:ret@2', [], [capture('BUF_OUT', 'ab', 3)]))).to.equal('equal');
    expect(compareArg('read', text, arg('out:ret@2', [], [capture('BUF_OUT', 'abcd')]))).to.match(/3 bytes/);
    expect(compareArg('read', text, arg('out:ret@2', [], [capture('BUF_OUT', 'abc', 4)]))).to.match(/truncated/);
    expect(compareArg('read', text, arg('out:ret@2', []))).to.match(/was not recorded/);
    const iov = '[{iov_base="\\x61", iov_len=1}]';
    expect(compareArg('writev', iov, arg('in:iov:@2', [capture('IOVEC', 'a', 9)]))).to.match(/1 bytes/);
  });

  it('tells what went in from what came out', () => {
    const four = (n: number): Capture => capture('STRUCT', Buffer.from([n, 0, 0, 0]));
    expect(compareArg('accept', '[110 => 9]', arg('io:4=i32s', [four(110)], [four(9)]))).to.equal('equal');
    expect(compareArg('accept', '[110 => 9]', arg('io:4=i32s', [four(110)], [four(8)]))).to.match(/^differs/);
    expect(compareArg('accept', '[110 => 9]', arg('io:4=i32s', [four(9)], [four(9)]))).to.match(/^differs/);
  });

  it('compares fields by their places', () => {
    const stat = Buffer.alloc(144);
    stat.writeBigUInt64LE(605n, 8);
    stat.writeUInt32LE(0o100644, 24);
    stat.writeBigInt64LE(37n, 48);
    const text = '{st_dev=0xfe00, st_ino=605, st_mode=0100644, st_size=37}';
    expect(compareArg('fstat', text, arg('out:144=stat', [], [capture('STRUCT', stat)]))).to.equal('equal');
    stat.writeBigInt64LE(38n, 48);
    expect(compareArg('fstat', text, arg('out:144=stat', [], [capture('STRUCT', stat)]))).to.match(
      /st_size=37 was recorded as 38/,
    );
  });

  it("compares what ioctl commands lead to, by the caller's layout", () => {
    const ifreq = Buffer.alloc(40);
    ifreq.write('lo');
    ifreq.writeUInt16LE(2, 16);
    ifreq.set([127, 0, 0, 1], 20);
    const text =
      '{ifr_name="\\x6c\\x6f", ifr_addr={sa_family=0x2, sin_port="\\x00\\x00", sin_addr="\\x7f\\x00\\x00\\x01"}}';
    for (const size of [40, 32]) {
      const bytes = ifreq.subarray(0, size);
      const of = (b: Buffer): RecordedArg => arg(`io:${size}`, [], [capture('STRUCT', b)]);
      expect(compareArg('ioctl', text, of(bytes))).to.equal('equal');
      // Name with its zero, family, port, address.
      for (const at of [0, 1, 2, 16, 17, 18, 19, 20, 21, 22, 23]) {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ 1;
        expect(compareArg('ioctl', text, of(changed)), `byte ${at}`).to.match(/^differs/);
      }
    }
    const termio = Buffer.alloc(18);
    termio.set([3, 28], 9);
    const modes =
      '{c_iflag=, c_oflag=0|0|, c_cflag=0, c_lflag=, c_line=0, c_cc=[[VINTR]=0x3, [VQUIT]=0x1c, [VERASE]=0]}';
    const of = (b: Buffer): RecordedArg => arg('out:18', [], [capture('STRUCT', b)]);
    expect(compareArg('ioctl', modes, of(termio))).to.equal('equal');
    for (let at = 0; at < 12; at++) {
      const changed = Buffer.from(termio);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(compareArg('ioctl', modes, of(changed)), `byte ${at}`).to.match(/^differs/);
    }
    const geometry = '{heads=16, sectors=63, cylinders=5, start=9}';
    const chs = [16, 63, 5, 0];
    const wide = Buffer.from([...chs, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    expect(compareArg('ioctl', geometry, arg('out:16', [], [capture('STRUCT', wide)]))).to.equal('equal');
    const narrow = Buffer.from([...chs, 9, 0, 0, 0]);
    expect(compareArg('ioctl', geometry, arg('out:8', [], [capture('STRUCT', narrow)]))).to.equal('equal');
    expect(compareArg('ioctl', geometry, arg('out:8', [], [capture('STRUCT', wide.subarray(0, 8))]))).to.match(/start/);
  });

  it('compares how much room SIOCGIFCONF had and took', () => {
    const of = (n: number): Capture => capture('STRUCT', longs(BigInt(n), 0n));
    const both = '{ifc_len=320 /* 8 * sizeof(struct ifreq) */ => 40 /* 1 * sizeof(struct ifreq) */, ifc_buf=[{}]}';
    expect(compareArg('ioctl', both, arg('io:16', [of(320)], [of(40)]))).to.equal('equal');
    expect(compareArg('ioctl', both, arg('io:16', [of(320)], [of(80)]))).to.match(/ifc_len=40/);
    expect(compareArg('ioctl', both, arg('io:16', [of(32)], [of(40)]))).to.match(/ifc_len=320/);
    expect(compareArg('ioctl', both, arg('io:16', [of(320)]))).to.match(/not recorded/);
    const asked = '{ifc_len=40 /* 1 * sizeof(struct ifreq) */, ifc_buf=NULL}';
    expect(compareArg('ioctl', asked, arg('io:16', [of(0)], [of(40)]))).to.equal('equal');
    expect(compareArg('ioctl', asked, arg('io:16', [of(40)], [of(0)]))).to.match(/^differs/);
  });

  it('compares messages with their lengths, bytes and control', () => {
    const header = Buffer.alloc(56);
    header.writeBigUInt64LE(1n, 24);
    header.writeBigUInt64LE(24n, 40);
    const control = Buffer.alloc(24);
    control.writeBigUInt64LE(20n, 0);
    control.writeUInt32LE(1, 8);
    control.writeUInt32LE(1, 12);
    const text =
      '{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="\\x61", iov_len=1}], msg_iovlen=1, msg_control=[{cmsg_len=20, cmsg_level=0x1, cmsg_type=0x1, cmsg_data=[1]}], msg_controllen=24, msg_flags=0}';
    const of = (h: Buffer, data: string, c: Buffer): RecordedArg =>
      arg('in:msg', [capture('STRUCT', h), capture('IOVEC', data), capture('CONTROL', c)]);
    expect(compareArg('sendmsg', text, of(header, 'a', control))).to.equal('equal');
    expect(compareArg('sendmsg', text, of(header, 'b', control))).to.match(/^differs/);
    const otherLength = Buffer.from(header);
    otherLength.writeBigUInt64LE(25n, 40);
    expect(compareArg('sendmsg', text, of(otherLength, 'a', control))).to.match(/controllen/);
    const otherType = Buffer.from(control);
    otherType.writeUInt32LE(2, 12);
    expect(compareArg('sendmsg', text, of(header, 'a', otherType))).to.match(/ancillary/);
    expect(compareArg('sendmsg', text, arg('in:msg', [capture('STRUCT', header), capture('IOVEC', 'a')]))).to.match(
      /not recorded/,
    );
  });

  it('compares what follows a result', () => {
    const polled = Buffer.from([3, 0, 0, 0, 1, 0, 4, 0]);
    const args = [arg('io:8*@1i=pollfds', [], [capture('STRUCT', polled)])];
    expect(compareTail('1 ([{fd=3, revents=0x4}])', args)).to.equal('equal');
    expect(compareTail('1 ([{fd=3, revents=0x1}])', args)).to.match(/^differs/);
    const sets = [arg('int', []), arg('io:bits@0i', [], [capture('BUF_OUT', Buffer.from([8, 0, 0, 0, 0, 0, 0, 0]))])];
    expect(compareTail('1 (in [3], left {tv_sec=0, tv_usec=9})', sets)).to.equal('equal');
    expect(compareTail('1 (in [4])', sets)).to.match(/^differs/);
    expect(compareTail('0 (Timeout)', sets)).to.equal('unchecked');
  });
});

// SPDX-License-Identifier: MIT
/** Captured memory of system calls as text: numbers, times, flags, addresses. Pure functions. */
import { commandRow } from '../abi/commands.js';
import { displayBytes } from './text.js';

/** Elements shown of an array. */
const ELEMENTS_SHOWN = 16;

export function quoted(bytes: Uint8Array): string {
  return `"${displayBytes(bytes).replaceAll('"', '\\x22')}"`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Elements of `size` bytes, as far as they are whole; undefined if there is none. */
function elements(bytes: Buffer, size: number, show: (at: number) => string): string | undefined {
  const count = Math.floor(bytes.length / size);
  if (count === 0) return undefined;
  const shown = Array.from({ length: Math.min(count, ELEMENTS_SHOWN) }, (_, i) => show(i * size));
  const text = `${shown.join(' ')}${count > ELEMENTS_SHOWN ? ' …' : ''}`;
  return count === 1 ? text : `[${text}]`;
}

function seconds(bytes: Buffer, at: number): string {
  return `${bytes.readBigInt64LE(at)}s+${bytes.readBigInt64LE(at + 8)}`;
}

function stat(bytes: Buffer): string | undefined {
  if (bytes.length < 144) return undefined;
  return `{ino=${bytes.readBigUInt64LE(8)} mode=0${bytes.readUInt32LE(24).toString(8)} nlink=${bytes.readBigUInt64LE(16)} uid=${bytes.readUInt32LE(28)} gid=${bytes.readUInt32LE(32)} size=${bytes.readBigInt64LE(48)}}`;
}

function statx(bytes: Buffer): string | undefined {
  if (bytes.length < 256) return undefined;
  return `{ino=${bytes.readBigUInt64LE(32)} mode=0${bytes.readUInt16LE(28).toString(8)} nlink=${bytes.readUInt32LE(16)} uid=${bytes.readUInt32LE(20)} gid=${bytes.readUInt32LE(24)} size=${bytes.readBigUInt64LE(40)}}`;
}

/** The numbers of the bits that are set, lowest first. */
function bitNumbers(bytes: Buffer, first: number): string {
  const set: number[] = [];
  for (let bit = 0; bit < bytes.length * 8; bit++)
    if (((bytes[bit >>> 3] ?? 0) >>> (bit & 7)) & 1) set.push(bit + first);
  const more = set.length > ELEMENTS_SHOWN * 2;
  return `{${set.slice(0, ELEMENTS_SHOWN * 2).join(' ')}${more ? ' …' : ''}}`;
}

/** What `=FORMAT` of an argument word can say; undefined where the bytes do not fit it. */
const FORMATS: Readonly<Record<string, (bytes: Buffer) => string | undefined>> = {
  i32: (b) => elements(b, 4, (at) => String(b.readInt32LE(at))),
  i32s: (b) => elements(b, 4, (at) => String(b.readInt32LE(at))),
  u32s: (b) => elements(b, 4, (at) => String(b.readUInt32LE(at))),
  x32: (b) => elements(b, 4, (at) => `0x${b.readUInt32LE(at).toString(16)}`),
  x32s: (b) => elements(b, 4, (at) => `0x${b.readUInt32LE(at).toString(16)}`),
  u16s: (b) => elements(b, 2, (at) => String(b.readUInt16LE(at))),
  i64: (b) => elements(b, 8, (at) => String(b.readBigInt64LE(at))),
  i64s: (b) => elements(b, 8, (at) => String(b.readBigInt64LE(at))),
  u64s: (b) => elements(b, 8, (at) => String(b.readBigUInt64LE(at))),
  time: (b) => elements(b, 16, (at) => seconds(b, at)),
  times: (b) => elements(b, 16, (at) => seconds(b, at)),
  str: (b) => quoted(b.subarray(0, b.indexOf(0) < 0 ? b.length : b.indexOf(0))),
  sigset: (b) => bitNumbers(b, 1),
  pollfds: (b) =>
    elements(
      b,
      8,
      (at) => `${b.readInt32LE(at)}:0x${b.readUInt16LE(at + 4).toString(16)}:0x${b.readUInt16LE(at + 6).toString(16)}`,
    ),
  stat,
  statx,
};

/** The names that `=FORMAT` may have. */
export const FORMAT_NAMES: ReadonlySet<string> = new Set(Object.keys(FORMATS));

/** Captured bytes by a format; undefined if there is none or the bytes do not fit it. */
export function formatBytes(bytes: Buffer, format: string | undefined): string | undefined {
  return format === undefined ? undefined : FORMATS[format]?.(bytes);
}

/** A bitmap of descriptors. */
export function fdSetText(bytes: Buffer): string {
  return bitNumbers(bytes, 0);
}

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;

function ipv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  const text = groups.join(':');
  // The longest run of zeros, once.
  const runs = [...text.matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].sort((a, b) => b[0].length - a[0].length);
  const longest = runs[0];
  if (longest === undefined) return text;
  const rest = text.slice(longest.index + longest[0].length);
  return `${text.slice(0, longest.index)}${rest === '' ? '::' : `:${rest}`}`;
}

/** A socket address: `127.0.0.1:80`, `[::1]:80`, `unix:"/run/x"`, `unix:@"abstract"`, else its family and bytes. */
export function sockaddrText(bytes: Buffer): string {
  if (bytes.length < 2) return bytes.length === 0 ? 'none' : hex(bytes);
  const family = bytes.readUInt16LE(0);
  const rest = bytes.subarray(2);
  if (family === AF_INET && rest.length >= 6) return `${[...rest.subarray(2, 6)].join('.')}:${rest.readUInt16BE(0)}`;
  if (family === AF_INET6 && rest.length >= 22) return `[${ipv6(rest.subarray(6, 22))}]:${rest.readUInt16BE(0)}`;
  if (family === AF_NETLINK && rest.length >= 10)
    return `netlink:${rest.readUInt32LE(2)}:0x${rest.readUInt32LE(6).toString(16)}`;
  if (family === AF_UNIX) {
    if (rest.length === 0) return 'unix:unnamed';
    if (rest[0] === 0) return `unix:@${quoted(rest.subarray(1))}`;
    const end = rest.indexOf(0);
    return `unix:${quoted(end < 0 ? rest : rest.subarray(0, end))}`;
  }
  return `family${family}:${hex(rest)}`;
}

const ACCESS_MODES = ['O_RDONLY', 'O_WRONLY', 'O_RDWR', 'O_ACCMODE'] as const;

/** Bits of open(); those of several bits stand before their parts. */
const OPEN_FLAGS: readonly (readonly [name: string, bits: number])[] = [
  ['O_CREAT', 0o100],
  ['O_EXCL', 0o200],
  ['O_NOCTTY', 0o400],
  ['O_TRUNC', 0o1000],
  ['O_APPEND', 0o2000],
  ['O_NONBLOCK', 0o4000],
  ['O_SYNC', 0o4010000],
  ['O_DSYNC', 0o10000],
  ['O_ASYNC', 0o20000],
  ['O_DIRECT', 0o40000],
  ['O_LARGEFILE', 0o100000],
  ['O_TMPFILE', 0o20200000],
  ['O_DIRECTORY', 0o200000],
  ['O_NOFOLLOW', 0o400000],
  ['O_NOATIME', 0o1000000],
  ['O_CLOEXEC', 0o2000000],
  ['O_PATH', 0o10000000],
];

/** `O_WRONLY|O_CREAT|O_TRUNC`; bits without a name in hexadecimal. */
export function openFlagsText(value: bigint): string {
  let rest = Number(BigInt.asUintN(32, value));
  const parts: string[] = [ACCESS_MODES[rest & 3] ?? ''];
  rest = (rest & ~3) >>> 0;
  for (const [name, bits] of OPEN_FLAGS) {
    if ((rest & bits) !== bits) continue;
    parts.push(name);
    rest = (rest & ~bits) >>> 0;
  }
  if (rest !== 0) parts.push(`0x${rest.toString(16)}`);
  return parts.join('|');
}

/** The name of an ioctl command, or its number. */
export function ioctlText(value: bigint): string {
  return commandRow('ioctl', value)?.[0] ?? `0x${BigInt.asUintN(32, value).toString(16)}`;
}

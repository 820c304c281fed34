// SPDX-License-Identifier: MIT
/**
 * The language of a row's `args`: one word per argument, separated by blanks. Arguments are counted from 0.
 *
 *   int fd ptr        a value · a file descriptor · an address that is not followed
 *   oflags mode ioctl values that are shown as open flags · as a mode · as an ioctl's name
 *   path str          a path · another NUL-terminated string
 *   strv              a vector of strings, as argv
 *   DIR:LEN           memory; DIR:sock:LEN a socket address
 *   DIR:iov:LEN       an iovec, LEN counts its entries; the bytes are gathered
 *   DIR:msg           a msghdr: itself, address, gathered bytes, control · DIR:mmsg:LEN  an array of mmsghdr
 *   DIR:ptrs:SIZE*LEN an array of LEN addresses of structures of SIZE bytes each
 *   by:K:TABLE        as the table of `commands.ts` says for the value of argument K; by* for the u32 at its address
 *   socketcall        ia32: the vector of arguments of the call that argument 0 names, then what those lead to
 *
 * DIR: `in` read by the call · `out` written by it, if it succeeds · `io` both · `out+` written if its result is above
 * zero · `intr` written if it was interrupted.
 * LEN: [ADD+][SIZE*]BASE, or a fixed number of bytes. BASE: `@K` argument K · `ret` the result · `ret@K` the result, at
 * most argument K · `fit@K` the result, nothing if it is more than argument K · `u32@K` the u32 at the address in K ·
 * `selfN` the u32 at byte N of the memory itself · `ownN/B` the same, or B if it is 0, as of structures that say their size ·
 * `bits@K` a bit for each of argument K, in whole longs; with `-1` one
 * bit less · `pages@K` one for each page of argument K bytes. An `i` after K: the kernel takes it as an int.
 * A word may end in `=FORMAT`: how the bytes are shown, see `lab/trace/values.ts`.
 *
 * Addresses inside memory (strv, iov, msg, ptrs) and longs of `bits` have 4 bytes under compat: ia32, and x32's rows.
 */

/** What the kernel does with an argument, and the numbers of it in the generated C. */
export const ARG_KINDS = [
  { name: 'VALUE', value: 0, doc: 'a value, or an address that is not followed' },
  { name: 'STRING', value: 1, doc: 'a NUL-terminated string' },
  { name: 'STRV', value: 2, doc: 'a vector of strings' },
  { name: 'BYTES', value: 3, doc: 'bytes' },
  { name: 'STRUCT', value: 4, doc: 'one structure, or several' },
  { name: 'SOCKADDR', value: 5, doc: 'a socket address' },
  { name: 'IOVEC', value: 6, doc: 'an iovec; the length counts its entries' },
  { name: 'MSG', value: 7, doc: 'a msghdr' },
  { name: 'MMSG', value: 8, doc: 'an array of mmsghdr; the length counts them' },
  { name: 'PTRS', value: 9, doc: 'addresses of structures of size bytes' },
  { name: 'BY', value: 10, doc: 'by command: k is the argument, size the table' },
  { name: 'SOCKETCALL', value: 11, doc: "ia32's socketcall()" },
] as const;

/** When memory is captured. */
export const ARG_FLAGS = [
  { name: 'IN', value: 1, doc: 'at entry' },
  { name: 'OUT', value: 2, doc: 'at exit, if the call succeeded' },
  { name: 'POSITIVE', value: 4, doc: 'at exit, if the result is above zero' },
  { name: 'INTR', value: 8, doc: 'at exit, if the call was interrupted' },
  { name: 'INT', value: 16, doc: 'argument k is an int' },
  { name: 'DEREF', value: 32, doc: 'the command is the u32 at the address in argument k' },
] as const;

/** What `base` is in base * size + add bytes. */
export const LEN_RULES = [
  { name: 'FIXED', value: 0, doc: '1' },
  { name: 'ARG', value: 1, doc: 'argument k' },
  { name: 'RET', value: 2, doc: 'the result, at most argument k unless k is 255' },
  { name: 'FIT', value: 3, doc: 'the result, or 0 if it is more than argument k' },
  { name: 'U32', value: 4, doc: 'the u32 at the address in argument k' },
  { name: 'SELF', value: 5, doc: 'the u32 at byte k of the memory itself' },
  { name: 'BITS', value: 6, doc: 'bytes of the longs that hold argument k - add bits' },
  { name: 'PAGES', value: 7, doc: 'pages of argument k bytes' },
  { name: 'OWN', value: 8, doc: 'the u32 at byte k of the memory itself, or add if that is 0' },
] as const;

export type ArgKind = (typeof ARG_KINDS)[number]['name'];
export type ArgFlag = (typeof ARG_FLAGS)[number]['name'];
export type LenRule = (typeof LEN_RULES)[number]['name'];

/** One argument, as the C table has it, and what people are told of it. */
export interface ArgDesc {
  readonly kind: ArgKind;
  readonly flags: readonly ArgFlag[];
  readonly rule: LenRule;
  readonly k: number;
  readonly size: number;
  readonly add: number;
  /** The first word: int, fd, in, out, by, … */
  readonly word: string;
  /** Name of a table of commands, for `by`. */
  readonly table?: string;
  /** How the bytes are shown. */
  readonly format?: string;
}

/** `k` of a length that no argument bounds. */
export const UNBOUNDED = 255;

const PLAIN: Readonly<Record<string, ArgKind>> = {
  int: 'VALUE',
  fd: 'VALUE',
  ptr: 'VALUE',
  oflags: 'VALUE',
  mode: 'VALUE',
  ioctl: 'VALUE',
  path: 'STRING',
  str: 'STRING',
  strv: 'STRV',
  socketcall: 'SOCKETCALL',
};
const DIRECTIONS: Readonly<Record<string, readonly ArgFlag[]>> = {
  in: ['IN'],
  out: ['OUT'],
  io: ['IN', 'OUT'],
  'out+': ['POSITIVE'],
  intr: ['INTR'],
};
const SHAPES: Readonly<Record<string, ArgKind>> = {
  sock: 'SOCKADDR',
  iov: 'IOVEC',
  msg: 'MSG',
  mmsg: 'MMSG',
  ptrs: 'PTRS',
};
const BASES: Readonly<Record<string, LenRule>> = {
  '@': 'ARG',
  ret: 'RET',
  'ret@': 'RET',
  'fit@': 'FIT',
  'u32@': 'U32',
  self: 'SELF',
  own: 'OWN',
  'bits@': 'BITS',
  'pages@': 'PAGES',
};
const LENGTH = /^(?:(\d+)\+)?(?:(\d+)\*)?(@|ret@|ret|fit@|u32@|self|own|bits@|pages@)(\d*)(i?)(?:-(\d+)|\/(\d+))?$/;

type Length = Pick<ArgDesc, 'rule' | 'k' | 'size' | 'add'> & { readonly isInt: boolean };

function parseLength(text: string): Length | undefined {
  if (/^[1-9]\d*$/.test(text)) return { rule: 'FIXED', k: 0, size: Number(text), add: 0, isInt: false };
  const [, add = '0', size = '1', base = '', k = '', int = '', less, first] = LENGTH.exec(text) ?? [];
  const rule = BASES[base];
  if (rule === undefined || (k === '') !== (base === 'ret') || (less !== undefined && rule !== 'BITS'))
    return undefined;
  if ((first !== undefined) !== (rule === 'OWN')) return undefined;
  return {
    rule,
    k: k === '' ? UNBOUNDED : Number(k),
    size: Number(size),
    add: Number(less ?? first ?? add),
    isInt: int === 'i',
  };
}

function memory(word: string, rest: string, format: string | undefined): ArgDesc | undefined {
  const flags = DIRECTIONS[word];
  const cut = rest.indexOf(':');
  const first = cut < 0 ? rest : rest.slice(0, cut);
  const shape = SHAPES[first];
  const text = shape === undefined ? rest : cut < 0 ? '' : rest.slice(cut + 1);
  const length = shape !== 'MSG' ? parseLength(text) : text === '' ? parseLength('1') : undefined;
  if (flags === undefined || length === undefined) return undefined;
  const { isInt, ...len } = length;
  // A fixed size, and elements of more than one byte, are structures; the rest is bytes.
  const kind = shape ?? (len.rule === 'FIXED' || len.size > 1 ? 'STRUCT' : 'BYTES');
  return {
    kind,
    flags: isInt ? [...flags, 'INT'] : flags,
    ...len,
    word,
    ...(format === undefined ? {} : { format }),
  };
}

/** Parses one word; undefined: it is not in the language. */
export function parseWord(text: string): ArgDesc | undefined {
  const [body = '', format] = text.split('=');
  const cut = body.indexOf(':');
  const word = cut < 0 ? body : body.slice(0, cut);
  const rest = cut < 0 ? '' : body.slice(cut + 1);
  const plain = PLAIN[word];
  if (plain !== undefined) {
    const flags: ArgFlag[] = plain === 'VALUE' ? [] : plain === 'SOCKETCALL' ? ['IN', 'OUT'] : ['IN'];
    return cut >= 0 || format !== undefined
      ? undefined
      : { kind: plain, flags, rule: 'FIXED', k: 0, size: 0, add: 0, word };
  }
  if (word === 'by' || word === 'by*') {
    const [, k = '', table] = /^(\d):([\w-]+)$/.exec(rest) ?? [];
    if (table === undefined) return undefined;
    return {
      kind: 'BY',
      flags: word === 'by*' ? ['DEREF'] : [],
      rule: 'FIXED',
      k: Number(k),
      size: 0,
      add: 0,
      word: 'by',
      table,
    };
  }
  return memory(word, rest, format);
}

/**
 * Parses the `args` of a row.
 * @throws Error naming the call and the word that is not in the language
 */
export function parseArgs(row: { readonly name: string; readonly args: string }): ArgDesc[] {
  const words = row.args === '' ? [] : row.args.split(' ');
  if (words.length > 6) throw new Error(`syscalls.ts: ${row.name} has ${words.length} arguments; at most 6 exist`);
  return words.map((text, i) => {
    const desc = parseWord(text);
    const pointsAt = desc?.kind === 'BY' || (desc !== undefined && !['FIXED', 'SELF', 'OWN'].includes(desc.rule));
    if (desc === undefined || (pointsAt && desc.k !== UNBOUNDED && (desc.k >= words.length || desc.k === i)))
      throw new Error(
        `syscalls.ts: ${row.name} has the argument word "${text}", which the language of arguments.ts does not know`,
      );
    return desc;
  });
}

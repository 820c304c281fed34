// SPDX-License-Identifier: MIT
/** Writes `module/lemona_syscalls.h` from the system-call tables: pure, text out. */
import { ARG_FLAGS, ARG_KINDS, type ArgDesc, type ArgFlag, LEN_RULES, parseArgs } from './arguments.js';
import {
  COMMAND_TABLES,
  type CommandTable,
  commandArg,
  commandTable,
  SOCKETCALL_ARG,
  SOCKETCALLS,
} from './commands.js';
import type { SyscallRow } from './syscall-row.js';
import { FIRST_X32, RESERVED, ROWS_64, ROWS_IA32, ROWS_X32 } from './syscalls.js';
import { URING_FIELDS, URING_OPS } from './uring.js';

/** The flags of what is captured when a call returns. */
const AT_EXIT: readonly ArgFlag[] = ['OUT', 'POSITIVE', 'INTR'];
/** Columns of a line of the generated header; a tab counts 8. */
const COLUMNS = 80;

function emitArg(desc: ArgDesc): string {
  if (desc.kind === 'VALUE') return '{ 0 }';
  const { index } = desc.table === undefined ? { index: desc.size } : commandTable(desc.table);
  const flags = ARG_FLAGS.reduce((sum, f) => (desc.flags.includes(f.name) ? sum | f.value : sum), 0);
  return `{ LEMONA_ARG_${desc.kind}, 0x${flags.toString(16)}, LEMONA_LEN_${desc.rule}, ${desc.k}, ${index}, ${desc.add} }`;
}

/** Cells on as few lines as fit, indented by tabs. */
function fill(cells: readonly string[], tabs: number): string {
  const lines: string[] = [];
  let line = '';
  for (const [i, cell] of cells.entries()) {
    const item = i === cells.length - 1 ? cell : `${cell},`;
    if (line !== '' && 8 * tabs + line.length + 1 + item.length > COLUMNS) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? item : ` ${item}`;
  }
  lines.push(line);
  return lines.map((l) => '\t'.repeat(tabs) + l).join('\n');
}

/** A bit for each argument whose memory may be captured at entry, and at exit. Pure. */
export function captured(args: readonly ArgDesc[]): { readonly entry: number; readonly exit: number } {
  const mask = (isTaken: (arg: ArgDesc) => boolean) =>
    args.reduce((sum, arg, i) => sum | (isTaken(arg) ? 1 << i : 0), 0);
  // What a command decides may be either.
  return {
    entry: mask(({ kind, flags }) => kind === 'BY' || flags.includes('IN')),
    exit: mask(({ kind, flags }) => kind === 'BY' || AT_EXIT.some((flag) => flags.includes(flag))),
  };
}

/** What a call is about, and the numbers of it in the generated C. */
const ABOUT = [
  { name: 'NOTHING', value: 0, doc: 'neither of these' },
  { name: 'SOCKET', value: 1, doc: 'a socket' },
  { name: 'FD', value: 2, doc: 'what the descriptor in the first argument is' },
] as const;

/** Calls that are about sockets, whatever their arguments are. */
const SOCKET_CALLS: ReadonlySet<string> = new Set([
  ...['socket', 'socketpair', 'socketcall', 'bind', 'listen', 'accept', 'accept4', 'connect', 'shutdown'],
  ...['getsockname', 'getpeername', 'getsockopt', 'setsockopt', 'send', 'recv', 'sendto', 'recvfrom'],
  ...['sendmsg', 'recvmsg', 'sendmmsg', 'recvmmsg', 'recvmmsg_time64'],
]);

/** When these return, nobody knows what the descriptor was: it is closed, or the registers are another program's. */
const LOST_CALLS: ReadonlySet<string> = new Set(['close', 'execveat']);

function about({ name }: SyscallRow, args: readonly ArgDesc[]): (typeof ABOUT)[number]['value'] {
  if (SOCKET_CALLS.has(name)) return 1;
  return args[0]?.word === 'fd' && !LOST_CALLS.has(name) ? 2 : 0;
}

function emitRow(row: SyscallRow & { readonly isNetwork?: boolean }): string {
  const args = parseArgs(row);
  const comment = `\t/* ${row.name} */`;
  const head = `${args.length}, ${row.isNetwork === undefined ? about(row, args) : Number(row.isNetwork)}`;
  if (args.every((a) => a.kind === 'VALUE')) return `${comment}\n\t[${row.nr}] = { ${head} },`;
  const { entry, exit } = captured(args);
  const masks = `0x${entry.toString(16)}, 0x${exit.toString(16)}`;
  return `${comment}\n\t[${row.nr}] = { ${head}, ${masks}, {\n${fill(args.map(emitArg), 2)}\n\t} },`;
}

function emitTable(
  name: string,
  doc: readonly string[],
  rows: readonly SyscallRow[],
  reserved: readonly (readonly [number, number])[],
): string {
  const parts = [
    ...rows.map((row) => ({ nr: row.nr, text: emitRow(row) })),
    ...reserved.map(([first, last]) => ({
      nr: first,
      text: `\t/* no such call: six values */\n\t[${first === last ? first : `${first} ... ${last}`}] = { 6 },`,
    })),
  ].sort((a, b) => a.nr - b.nr);
  const comment = ['/*', ...doc.map((line) => ` * ${line}`), ' */'];
  return [...comment, `static const struct lemona_sysdesc ${name}[] = {`, ...parts.map((p) => p.text), '};'].join('\n');
}

const tableId = (table: CommandTable): string => `lemona_by_${table.name.replaceAll('-', '_')}`;

function emitCommands(table: CommandTable): string {
  const rows = [...table.rows].sort((a, b) => a[1] - b[1]);
  const lines = rows.map((row) => {
    const cells = [
      `0x${row[1].toString(16)}`,
      row[5] === undefined ? '0' : '1',
      emitArg(commandArg(row, '64')),
      emitArg(commandArg(row, 'ia32')),
    ];
    return `\t/* ${row[0]} */\n\t{\n${fill(cells, 2)}\n\t},`;
  });
  return [`static const struct lemona_command ${tableId(table)}[] = {`, ...lines, '};'].join('\n');
}

function emitCommandTables(): string {
  const rows = COMMAND_TABLES.map((t) => {
    const mask = `0x${(t.mask ?? 0xffffffff).toString(16)}`;
    return `\t{ ${tableId(t)}, ARRAY_SIZE(${tableId(t)}), ${mask}, ${t.shift ?? 0}, ${t.isEncoded ? 1 : 0} },`;
  });
  return ['static const struct lemona_commands lemona_commands[] = {', ...rows, '};'].join('\n');
}

function emitSocketcalls(): string {
  const rows = SOCKETCALLS.map(([nr, name, args]) => {
    const row = ROWS_IA32.find((r) => r.name === name);
    if (row === undefined) throw new Error(`commands.ts: socketcall's ${name} is no ia32 call`);
    return `\t[${nr}] = { ${row.nr}, ${args} }, /* ${name} */`;
  });
  return ['static const struct lemona_socketcall lemona_socketcalls[] = {', ...rows, '};'].join('\n');
}

function emitEnum(
  tag: string,
  prefix: string,
  doc: string,
  table: typeof ARG_KINDS | typeof LEN_RULES | typeof ABOUT,
): string {
  const rows = table.map((d) => `\tLEMONA_${prefix}_${d.name} = ${d.value}, /* ${d.doc} */`);
  return [`/* ${doc} */`, `enum ${tag} {`, ...rows, '};'].join('\n');
}

/** The whole header: tables indexed by system-call number, that of io_uring, and those of commands. */
export function emitSyscallHeader(): string {
  const parts = [
    '/* SPDX-License-Identifier: GPL-2.0 OR MIT */',
    [
      '/*',
      ' * What is captured of each system call. Generated by lab/abi/generate.ts from',
      ' * the tables of lab/abi/: do not edit.',
      ' */',
    ].join('\n'),
    [
      '#ifndef LEMONA_SYSCALLS_H',
      '#define LEMONA_SYSCALLS_H',
      '',
      '#include <linux/array_size.h>',
      '#include <linux/types.h>',
    ].join('\n'),
    emitEnum('lemona_arg_kind', 'ARG', 'Kinds of arguments', ARG_KINDS),
    [
      '/* When memory is captured, and how argument k is taken */',
      ...ARG_FLAGS.map((f) => `#define LEMONA_ARG_${f.name} ${f.value} /* ${f.doc} */`),
    ].join('\n'),
    emitEnum('lemona_len_rule', 'LEN', 'The base of base * size + add bytes', LEN_RULES),
    emitEnum('lemona_about', 'ABOUT', 'What a call is about', ABOUT),
    [
      '/* One argument */',
      'struct lemona_arg {',
      '\t__u8 kind; /* LEMONA_ARG_* */',
      '\t__u8 flags; /* LEMONA_ARG_* */',
      '\t__u8 rule; /* LEMONA_LEN_* */',
      '\t__u8 k; /* as kind and rule say */',
      '\t__u16 size; /* bytes of an element, or the table of commands */',
      '\t__u16 add; /* as the rule says */',
      '};',
      '',
      '/* One system call */',
      'struct lemona_sysdesc {',
      '\t__u8 nargs; /* arguments */',
      '\t__u8 about; /* LEMONA_ABOUT_* */',
      '\t__u8 entry; /* a bit for each argument whose memory may be captured at entry */',
      '\t__u8 exit; /* and at exit */',
      '\tstruct lemona_arg arg[6];',
      '};',
      '',
      '/* An argument that a command decides */',
      'struct lemona_command {',
      '\t__u32 nr;',
      '\t__u32 ia32; /* compat is of ia32 alone, x32 is as 64 bits */',
      '\tstruct lemona_arg arg; /* with 64-bit layouts */',
      '\tstruct lemona_arg compat;',
      '};',
      '',
      '/* The commands of one argument, in ascending order */',
      'struct lemona_commands {',
      '\tconst struct lemona_command *rows;',
      '\t__u32 count;',
      '\t__u32 mask; /* the command is (value & mask) >> shift */',
      '\t__u8 shift;',
      '\t__u8 encoded; /* others may tell direction and size as _IOC() does */',
      '};',
      '',
      '/* A call inside of socketcall() */',
      'struct lemona_socketcall {',
      '\t__u16 nr; /* of ia32 */',
      '\t__u8 nargs;',
      '};',
      '',
      '/* The first argument inside of socketcall() in a TLV */',
      `#define LEMONA_SOCKETCALL_ARG ${SOCKETCALL_ARG}`,
      "/* From this number on, calls are x32's own */",
      `#define LEMONA_FIRST_X32 ${FIRST_X32}`,
    ].join('\n'),
    ...COMMAND_TABLES.map(emitCommands),
    emitCommandTables(),
    emitSocketcalls(),
    emitTable('lemona_sys64', ['x86-64'], ROWS_64, RESERVED['64']),
    emitTable(
      'lemona_sysx32',
      ['x32 with compat layouts; its other numbers are as in lemona_sys64. Bit 30 is', 'taken off.'],
      ROWS_X32,
      [],
    ),
    emitTable('lemona_sys32', ['ia32'], ROWS_IA32, RESERVED.ia32),
    emitTable(
      'lemona_uring_ops',
      ['io_uring; the arguments are members of a submission queue entry:', `${URING_FIELDS.join(', ')}.`],
      URING_OPS,
      [],
    ),
    '#endif /* LEMONA_SYSCALLS_H */',
  ];
  return `${parts.join('\n\n')}\n`;
}

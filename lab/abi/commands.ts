// SPDX-License-Identifier: MIT
/**
 * Arguments whose meaning another argument decides: for each such argument a table from the value of the command to
 * the word of `arguments.ts` that then holds. A command that is in no row leaves the argument a plain value.
 */
import { type ArgDesc, parseWord } from './arguments.js';
import { type CommandRow, IOCTL_GROUPS } from './ioctls.js';
import type { Abi } from './syscall-row.js';

export interface CommandTable {
  readonly name: string;
  /** The command is (value & mask) >>> shift; all bits unless told. */
  readonly mask?: number;
  readonly shift?: number;
  /** A number that is in no row may tell direction and size itself, as _IOC() encodes them. */
  readonly isEncoded?: boolean;
  readonly rows: readonly CommandRow[];
}

/** The same argument for several commands. */
function each(arg: string, commands: readonly (readonly [string, number])[], compat?: string): CommandRow[] {
  return commands.map(([name, nr]) => (compat === undefined ? [name, nr, arg] : [name, nr, arg, undefined, compat]));
}

export const COMMAND_TABLES: readonly CommandTable[] = [
  { name: 'ioctl', isEncoded: true, rows: IOCTL_GROUPS.flatMap((g): readonly CommandRow[] => g.rows) },
  {
    name: 'fcntl',
    rows: [
      ['F_GETLK', 5, 'io:32', undefined, 'io:16'],
      ...each(
        'in:32',
        [
          ['F_SETLK', 6],
          ['F_SETLKW', 7],
        ],
        'in:16',
      ),
      // Commands of fcntl64() alone: packed struct flock64 of ia32.
      ['F_GETLK64', 12, 'int', undefined, 'io:24'],
      ...each(
        'int',
        [
          ['F_SETLK64', 13],
          ['F_SETLKW64', 14],
        ],
        'in:24',
      ),
      ['F_OFD_GETLK', 36, 'io:32', undefined, 'io:24'],
      ...each(
        'in:32',
        [
          ['F_OFD_SETLK', 37],
          ['F_OFD_SETLKW', 38],
        ],
        'in:24',
      ),
      ['F_SETOWN_EX', 15, 'in:8=i32s'],
      ['F_GETOWN_EX', 16, 'out:8=i32s'],
      ['F_GETOWNER_UIDS', 17, 'out:8=u32s'],
      ...each('out:8=u64s', [
        ['F_GET_RW_HINT', 1035],
        ['F_GET_FILE_RW_HINT', 1037],
      ]),
      ...each('in:8=u64s', [
        ['F_SET_RW_HINT', 1036],
        ['F_SET_FILE_RW_HINT', 1038],
      ]),
    ],
  },
  {
    // The fourth argument: a timeout, or how many to requeue.
    name: 'futex',
    mask: 0x7f,
    rows: each(
      'in:16=time',
      [
        ['FUTEX_WAIT', 0],
        ['FUTEX_LOCK_PI', 6],
        ['FUTEX_WAIT_BITSET', 9],
        ['FUTEX_WAIT_REQUEUE_PI', 11],
        ['FUTEX_LOCK_PI2', 13],
      ],
      'in:8=i32s',
    ),
  },
  {
    name: 'futex_time64',
    mask: 0x7f,
    rows: each('in:16=time', [
      ['FUTEX_WAIT', 0],
      ['FUTEX_LOCK_PI', 6],
      ['FUTEX_WAIT_BITSET', 9],
      ['FUTEX_WAIT_REQUEUE_PI', 11],
      ['FUTEX_LOCK_PI2', 13],
    ]),
  },
  {
    name: 'epoll_ctl',
    rows: each('in:12', [
      ['EPOLL_CTL_ADD', 1],
      ['EPOLL_CTL_MOD', 3],
    ]),
  },
  {
    // parent_tid; the child's own memory is written by the child. The result is above zero in the parent only.
    name: 'clone',
    mask: 0x101000,
    rows: each('out+:4=i32s', [
      ['CLONE_PIDFD', 0x1000],
      ['CLONE_PARENT_SETTID', 0x100000],
    ]),
  },
  {
    name: 'prctl',
    rows: [
      ['PR_SET_NAME', 15, 'str'],
      ['PR_GET_NAME', 16, 'out:16=str'],
      ...each('out:4=i32s', [
        ['PR_GET_PDEATHSIG', 2],
        ['PR_GET_TSC', 25],
        ['PR_GET_CHILD_SUBREAPER', 37],
      ]),
      ['PR_GET_TID_ADDRESS', 40, 'out:8'],
      ['PR_GET_AUXV', 0x41555856, 'out:ret@2'],
    ],
  },
  {
    name: 'prctl-2',
    rows: [
      ['PR_SET_SECCOMP', 22, 'in:16', undefined, 'in:8=x32s'],
      ['PR_SET_MM', 35, 'ptr'],
    ],
  },
  {
    name: 'prctl-4',
    rows: [
      ['PR_SET_VMA', 0x53564d41, 'str'],
      ['PR_SCHED_CORE', 62, 'ptr'],
    ],
  },
  {
    name: 'arch_prctl',
    rows: each('out:8', [
      ['ARCH_GET_FS', 0x1003],
      ['ARCH_GET_GS', 0x1004],
      ['ARCH_GET_XCOMP_SUPP', 0x1021],
      ['ARCH_GET_XCOMP_PERM', 0x1022],
      ['ARCH_GET_XCOMP_GUEST_PERM', 0x1024],
      ['ARCH_GET_UNTAG_MASK', 0x4001],
      ['ARCH_GET_MAX_TAG_BITS', 0x4003],
      ['ARCH_SHSTK_STATUS', 0x5005],
    ]),
  },
  {
    // data
    name: 'ptrace',
    rows: [
      ...each(
        'out:8',
        [
          ['PTRACE_PEEKTEXT', 1],
          ['PTRACE_PEEKDATA', 2],
          ['PTRACE_PEEKUSR', 3],
          ['PTRACE_GETEVENTMSG', 0x4201],
        ],
        'out:4=x32s',
      ),
      ['PTRACE_GETREGS', 12, 'out:216', undefined, 'out:68', 'ia32'],
      ['PTRACE_SETREGS', 13, 'in:216', undefined, 'in:68', 'ia32'],
      ['PTRACE_GETFPREGS', 14, 'out:512', undefined, 'out:108', 'ia32'],
      ['PTRACE_SETFPREGS', 15, 'in:512', undefined, 'in:108', 'ia32'],
      ['PTRACE_GETFPXREGS', 18, 'ptr', undefined, 'out:512'],
      ['PTRACE_SETFPXREGS', 19, 'ptr', undefined, 'in:512'],
      ['PTRACE_GET_THREAD_AREA', 25, 'out:16'],
      ['PTRACE_SET_THREAD_AREA', 26, 'in:16'],
      ['PTRACE_GETSIGINFO', 0x4202, 'out:128'],
      ['PTRACE_SETSIGINFO', 0x4203, 'in:128'],
      ['PTRACE_GETREGSET', 0x4204, 'in:16', undefined, 'in:8=x32s'],
      ['PTRACE_SETREGSET', 0x4205, 'in:iov:1'],
      ['PTRACE_PEEKSIGINFO', 0x4209, 'out:128*ret'],
      ['PTRACE_GETSIGMASK', 0x420a, 'out:8=sigset'],
      ['PTRACE_SETSIGMASK', 0x420b, 'in:8=sigset'],
      ['PTRACE_GET_SYSCALL_INFO', 0x420e, 'out:ret@2'],
      ['PTRACE_GET_RSEQ_CONFIGURATION', 0x420f, 'out:ret@2'],
    ],
  },
  {
    // addr
    name: 'ptrace-addr',
    rows: [['PTRACE_PEEKSIGINFO', 0x4209, 'in:16']],
  },
  {
    name: 'shmctl',
    mask: 0xfffffeff,
    rows: [
      ['IPC_SET', 1, 'in:112', undefined, 'ptr'],
      ...each(
        'out:112',
        [
          ['IPC_STAT', 2],
          ['SHM_STAT', 13],
          ['SHM_STAT_ANY', 15],
        ],
        'ptr',
      ),
      ['IPC_INFO', 3, 'out:72', undefined, 'ptr'],
      ['SHM_INFO', 14, 'out:48', undefined, 'ptr'],
    ],
  },
  {
    name: 'semctl',
    mask: 0xfffffeff,
    rows: [
      ['IPC_SET', 1, 'in:104', undefined, 'ptr'],
      ...each(
        'out:104',
        [
          ['IPC_STAT', 2],
          ['SEM_STAT', 18],
          ['SEM_STAT_ANY', 20],
        ],
        'ptr',
      ),
      ...each('out:40=i32s', [
        ['IPC_INFO', 3],
        ['SEM_INFO', 19],
      ]),
    ],
  },
  {
    name: 'msgctl',
    mask: 0xfffffeff,
    rows: [
      ['IPC_SET', 1, 'in:120', undefined, 'ptr'],
      ...each(
        'out:120',
        [
          ['IPC_STAT', 2],
          ['MSG_STAT', 11],
          ['MSG_STAT_ANY', 13],
        ],
        'ptr',
      ),
      ...each('out:32=i32s', [
        ['IPC_INFO', 3],
        ['MSG_INFO', 12],
      ]),
    ],
  },
  {
    // ia32 only: the pointer that SEMOP, SEMTIMEDOP and MSGSND take; their counts are argument 2.
    name: 'ipc',
    rows: [
      ['SEMOP', 1, 'in:6*@2i'],
      ['SEMTIMEDOP', 4, 'in:6*@2i'],
      ['MSGSND', 11, 'in:4+@2i'],
    ],
  },
  {
    name: 'syslog',
    rows: each('out:ret@2i', [
      ['SYSLOG_ACTION_READ', 2],
      ['SYSLOG_ACTION_READ_ALL', 3],
      ['SYSLOG_ACTION_READ_CLEAR', 4],
    ]),
  },
  {
    // The version at the header's start decides how much data there is.
    name: 'capget',
    rows: [
      ['_LINUX_CAPABILITY_VERSION_1', 0x19980330, 'out:12=x32s'],
      ['_LINUX_CAPABILITY_VERSION_2', 0x20071026, 'out:24=x32s'],
      ['_LINUX_CAPABILITY_VERSION_3', 0x20080522, 'out:24=x32s'],
    ],
  },
  {
    name: 'capset',
    rows: [
      ['_LINUX_CAPABILITY_VERSION_1', 0x19980330, 'in:12=x32s'],
      ['_LINUX_CAPABILITY_VERSION_2', 0x20071026, 'in:24=x32s'],
      ['_LINUX_CAPABILITY_VERSION_3', 0x20080522, 'in:24=x32s'],
    ],
  },
  { name: 'sysfs', rows: [['by name', 1, 'str']] },
  {
    name: 'modify_ldt',
    rows: [
      ['read', 0, 'out:ret@2'],
      ['write, old', 1, 'in:@2'],
      ['read default', 2, 'out:ret@2'],
      ['write', 0x11, 'in:@2'],
    ],
  },
  { name: 'reboot', rows: [['LINUX_REBOOT_CMD_RESTART2', 0xa1b2c3d4, 'str']] },
  {
    name: 'quotactl',
    mask: 0xffffff00,
    shift: 8,
    rows: [
      ['Q_QUOTAON', 0x800002, 'str'],
      ['Q_GETFMT', 0x800004, 'out:4=u32s'],
      ['Q_GETINFO', 0x800005, 'out:24'],
      ['Q_SETINFO', 0x800006, 'in:24'],
      ['Q_GETQUOTA', 0x800007, 'out:72', undefined, 'out:68'],
      ['Q_SETQUOTA', 0x800008, 'in:72', undefined, 'in:68'],
      ['Q_GETNEXTQUOTA', 0x800009, 'out:72', undefined, 'ptr'],
    ],
  },
  {
    name: 'keyctl',
    rows: [['KEYCTL_JOIN_SESSION_KEYRING', 1, 'str']],
  },
  {
    name: 'keyctl-2',
    rows: [
      ...each('in:@3', [
        ['KEYCTL_UPDATE', 2],
        ['KEYCTL_INSTANTIATE', 12],
      ]),
      ...each('out:fit@3', [
        ['KEYCTL_DESCRIBE', 6],
        ['KEYCTL_READ', 11],
        ['KEYCTL_GET_SECURITY', 17],
      ]),
      ['KEYCTL_SEARCH', 10, 'str'],
    ],
  },
  { name: 'keyctl-3', rows: [['KEYCTL_SEARCH', 10, 'str']] },
  {
    name: 'seccomp',
    rows: [
      ['SECCOMP_SET_MODE_FILTER', 1, 'in:16', undefined, 'in:8=x32s'],
      ['SECCOMP_GET_ACTION_AVAIL', 2, 'in:4=x32s'],
      ['SECCOMP_GET_NOTIF_SIZES', 3, 'out:6'],
    ],
  },
  {
    name: 'name_to_handle_at',
    mask: 1,
    rows: [
      ['a mount id', 0, 'out:4=i32s'],
      ['AT_HANDLE_MNT_ID_UNIQUE', 1, 'out:8=u64s'],
    ],
  },
  {
    name: 'io_uring_register',
    mask: 0x7fffffff,
    rows: [
      ['IORING_REGISTER_BUFFERS', 0, 'in:16*@3i', undefined, 'in:8*@3i'],
      ...each('in:4*@3i=i32s', [
        ['IORING_REGISTER_FILES', 2],
        ['IORING_REGISTER_EVENTFD', 4],
        ['IORING_REGISTER_EVENTFD_ASYNC', 7],
      ]),
      ['IORING_REGISTER_FILES_UPDATE', 6, 'in:16'],
      ['IORING_REGISTER_PROBE', 8, 'out:16+8*@3i'],
      ['IORING_REGISTER_RESTRICTIONS', 11, 'in:16*@3i'],
      ...each('in:@3i', [
        ['IORING_REGISTER_FILES2', 13],
        ['IORING_REGISTER_FILES_UPDATE2', 14],
        ['IORING_REGISTER_BUFFERS2', 15],
        ['IORING_REGISTER_BUFFERS_UPDATE', 16],
        ['IORING_REGISTER_IOWQ_AFF', 17],
      ]),
      ['IORING_REGISTER_IOWQ_MAX_WORKERS', 19, 'io:8=u32s'],
      ...each('io:16*@3i', [
        ['IORING_REGISTER_RING_FDS', 20],
        ['IORING_UNREGISTER_RING_FDS', 21],
      ]),
      ...each('in:40', [
        ['IORING_REGISTER_PBUF_RING', 22],
        ['IORING_UNREGISTER_PBUF_RING', 23],
      ]),
      ['IORING_REGISTER_SYNC_CANCEL', 24, 'in:64'],
      ['IORING_REGISTER_FILE_ALLOC_RANGE', 25, 'in:16'],
      ['IORING_REGISTER_PBUF_STATUS', 26, 'io:40'],
    ],
  },
  {
    name: 'fsconfig',
    rows: [
      ...each('str', [
        ['FSCONFIG_SET_STRING', 1],
        ['FSCONFIG_SET_PATH', 3],
        ['FSCONFIG_SET_PATH_EMPTY', 4],
      ]),
      ['FSCONFIG_SET_BINARY', 2, 'in:@4i'],
    ],
  },
  {
    name: 'landlock',
    rows: [
      ['LANDLOCK_RULE_PATH_BENEATH', 1, 'in:12'],
      ['LANDLOCK_RULE_NET_PORT', 2, 'in:16=u64s'],
    ],
  },
];

/** The calls of ia32's socketcall() by its first argument: their own rows, and how many arguments they have here. */
export const SOCKETCALLS = [
  [1, 'socket', 3],
  [2, 'bind', 3],
  [3, 'connect', 3],
  [4, 'listen', 2],
  [5, 'accept4', 3],
  [6, 'getsockname', 3],
  [7, 'getpeername', 3],
  [8, 'socketpair', 4],
  [9, 'sendto', 4],
  [10, 'recvfrom', 4],
  [11, 'sendto', 6],
  [12, 'recvfrom', 6],
  [13, 'shutdown', 2],
  [14, 'setsockopt', 5],
  [15, 'getsockopt', 5],
  [16, 'sendmsg', 3],
  [17, 'recvmsg', 3],
  [18, 'accept4', 4],
  [19, 'recvmmsg', 5],
  [20, 'sendmmsg', 4],
] as const satisfies readonly (readonly [nr: number, name: string, args: number])[];

/** The first argument of the inner call of socketcall() is numbered so in its TLVs. */
export const SOCKETCALL_ARG = 8;

const BY_NAME = new Map(COMMAND_TABLES.map((t, index) => [t.name, { table: t, index }]));

/**
 * A table and its place in the generated array.
 * @throws Error if no table has that name
 */
export function commandTable(name: string): { readonly table: CommandTable; readonly index: number } {
  const found = BY_NAME.get(name);
  if (found === undefined) throw new Error(`commands.ts: there is no table ${name}`);
  return found;
}

const ROWS = new Map(COMMAND_TABLES.map((t) => [t.name, new Map(t.rows.map((row) => [row[1], row]))]));

/** The row for the value of a command argument, if it has one. */
export function commandRow(table: string, value: bigint): CommandRow | undefined {
  const { mask = 0xffffffff, shift = 0 } = commandTable(table).table;
  return ROWS.get(table)?.get(Number((BigInt.asUintN(32, value) & BigInt(mask)) >> BigInt(shift)));
}

/**
 * The argument of a command.
 * @param layout as `layoutOf` of `syscalls.ts` says
 * @throws Error naming command and word if the language does not know it
 */
export function commandArg(row: CommandRow, layout: Abi): ArgDesc {
  const [name, , arg, , compat = arg, of] = row;
  const text = layout === '64' || (layout === 'x32' && of === 'ia32') ? arg : compat;
  const desc = parseWord(text);
  if (desc === undefined || desc.kind === 'BY')
    throw new Error(`commands.ts: ${name} has the argument word "${text}", which arguments.ts does not know`);
  return desc;
}

// SPDX-License-Identifier: MIT
/** The operations of io_uring in Linux 6.12: what the driver captures of each, and what it can do to a filesystem. */
import { type ArgDesc, parseArgs } from './arguments.js';
import type { CallEffect, SyscallRow } from './syscall-row.js';
import { SYSCALLS_64 } from './syscalls-64.js';

/** What `args` counts: members of a submission queue entry, as system calls have arguments; also `arg` in TLVs. */
export const URING_FIELDS = ['sqe', 'addr', 'addr2', 'addr3', 'len', 'addr_len'] as const;

export interface UringOp extends SyscallRow {
  /** It is about a socket, whatever it is given. */
  readonly isNetwork: boolean;
}

type CallName = (typeof SYSCALLS_64)[number]['name'];

/** What an operation can do: as the system call that does the same does it, or in words. */
type Row = readonly [name: string, args: string, effect: CallEffect | `as ${CallName}`, about?: 'network'];

const ROWS: readonly Row[] = [
  ['nop', 'int', 'none'],
  ['readv', 'int', 'as readv'],
  ['writev', 'int in:iov:@4 int int int', 'as writev'],
  ['fsync', 'int', 'as fsync'],
  ['read_fixed', 'int', 'as read'],
  ['write_fixed', 'int in:@4 int int int', 'as write'],
  ['poll_add', 'int', 'none'],
  ['poll_remove', 'int', 'none'],
  ['sync_file_range', 'int', 'as sync_file_range'],
  ['sendmsg', 'int in:msg', 'as sendmsg', 'network'],
  ['recvmsg', 'int', 'as recvmsg', 'network'],
  ['timeout', 'int in:16=time', 'none'],
  ['timeout_remove', 'int int in:16=time', 'none'],
  ['accept', 'int', 'as accept', 'network'],
  ['async_cancel', 'int', 'none'],
  ['link_timeout', 'int in:16=time', 'none'],
  ['connect', 'int in:sock:@2 int', 'as connect', 'network'],
  ['fallocate', 'int', 'as fallocate'],
  ['openat', 'int path', 'as openat'],
  ['close', 'int', 'as close'],
  ['files_update', 'int in:4*@4=i32s int int int', 'replayed: GONE; registered files hold references'],
  ['statx', 'int path', 'as statx'],
  ['read', 'int', 'as read'],
  ['write', 'int in:@4 int int int', 'as write'],
  ['fadvise', 'int', 'as fadvise64'],
  ['madvise', 'int', 'as madvise'],
  ['send', 'int in:@4 in:sock:@5 int int int', 'as sendto', 'network'],
  ['recv', 'int', 'as recvfrom', 'network'],
  ['openat2', 'int path in:@4=u64s int int', 'as openat2'],
  ['epoll_ctl', 'int in:12', 'as epoll_ctl'],
  ['splice', 'int', 'as splice'],
  ['provide_buffers', 'int', 'none'],
  ['remove_buffers', 'int', 'none'],
  ['tee', 'int', 'as tee'],
  ['shutdown', 'int', 'as shutdown', 'network'],
  ['renameat', 'int path path', 'as renameat2'],
  ['unlinkat', 'int path', 'as unlinkat'],
  ['mkdirat', 'int path', 'as mkdirat'],
  ['symlinkat', 'int path path', 'as symlinkat'],
  ['linkat', 'int path path', 'as linkat'],
  ['msg_ring', 'int', 'replayed: GONE; a file that is sent replaces another'],
  ['fsetxattr', 'int str in:@4 int int', 'as fsetxattr'],
  ['setxattr', 'int str in:@4 path int', 'as setxattr'],
  ['fgetxattr', 'int str', 'as fgetxattr'],
  ['getxattr', 'int str int path', 'as getxattr'],
  ['socket', 'int', 'as socket', 'network'],
  ['uring_cmd', 'int', 'unsupported: what it does its file decides; a discard of a disk is a raw write (TAINT)'],
  ['send_zc', 'int in:@4 in:sock:@5 int int int', 'as sendto', 'network'],
  ['sendmsg_zc', 'int in:msg', 'as sendmsg', 'network'],
  ['read_multishot', 'int', 'as read'],
  ['waitid', 'int', 'as waitid'],
  ['futex_wait', 'int', 'none'],
  ['futex_wake', 'int', 'none'],
  ['futex_waitv', 'int in:24*@4=u64s int int int', 'none'],
  ['fixed_fd_install', 'int', 'none'],
  ['ftruncate', 'int', 'as ftruncate'],
  ['bind', 'int in:sock:@2 int', 'as bind', 'network'],
  ['listen', 'int', 'as listen', 'network'],
];

function effectOf(effect: Row[2]): CallEffect {
  const call: string | undefined = /^as (\w+)$/.exec(effect)?.[1];
  const row: SyscallRow | undefined = SYSCALLS_64.find(({ name }) => name === call);
  return row?.effect ?? (effect as CallEffect);
}

export const URING_OPS: readonly UringOp[] = ROWS.map(([name, args, effect, about], nr) => ({
  nr,
  name,
  args,
  effect: effectOf(effect),
  isNetwork: about === 'network',
}));

const DESCS = URING_OPS.map(parseArgs);

/** The members of `URING_FIELDS` for an operation; none for one nobody has. */
export function uringArgs(opcode: number): readonly ArgDesc[] {
  return DESCS[opcode] ?? [];
}

export function uringOpName(opcode: number): string {
  return URING_OPS[opcode]?.name ?? `op${opcode}`;
}

// SPDX-License-Identifier: MIT
/** The operations of io_uring in Linux 6.12: what the driver captures of each, and what it can do to a filesystem. */
import { type ArgDesc, parseArgs } from './arguments.js';
import type { CallEffect, SyscallRow } from './syscall-row.js';

/** What `args` counts: members of a submission queue entry, as system calls have arguments; also `arg` in TLVs. */
export const URING_FIELDS = ['sqe', 'addr', 'addr2', 'addr3', 'len', 'addr_len'] as const;

export interface UringOp extends SyscallRow {
  /** It is about a socket, whatever it is given. */
  readonly isNetwork: boolean;
}

type Row = readonly [name: string, args: string, effect: CallEffect, about?: 'network'];

const RENAMES = 'replayed: RENAME';
const WRITES = 'replayed: WRITE, SETATTR';
const OPENS = 'replayed: CREATE, TMPFILE, SETATTR';
const ACCESS = 'replayed: SETATTR; access time';

const ROWS: readonly Row[] = [
  ['nop', 'int', 'none'],
  ['readv', 'int', ACCESS],
  ['writev', 'int in:iov:@4 int int int', WRITES],
  ['fsync', 'int', 'none'],
  ['read_fixed', 'int', ACCESS],
  ['write_fixed', 'int in:@4 int int int', WRITES],
  ['poll_add', 'int', 'none'],
  ['poll_remove', 'int', 'none'],
  ['sync_file_range', 'int', 'none'],
  ['sendmsg', 'int in:msg', 'none', 'network'],
  ['recvmsg', 'int', 'none', 'network'],
  ['timeout', 'int in:16=time', 'none'],
  ['timeout_remove', 'int int in:16=time', 'none'],
  ['accept', 'int', 'none', 'network'],
  ['async_cancel', 'int', 'none'],
  ['link_timeout', 'int in:16=time', 'none'],
  ['connect', 'int in:sock:@2 int', 'none', 'network'],
  ['fallocate', 'int', 'replayed: FALLOCATE'],
  ['openat', 'int path', OPENS],
  ['close', 'int', 'replayed: GONE'],
  ['files_update', 'int in:4*@4=i32s int int int', 'replayed: GONE; registered files hold references'],
  ['statx', 'int path', 'none'],
  ['read', 'int', ACCESS],
  ['write', 'int in:@4 int int int', WRITES],
  ['fadvise', 'int', 'none'],
  ['madvise', 'int', 'replayed: FALLOCATE; MADV_REMOVE'],
  ['send', 'int in:@4 in:sock:@5 int int int', 'none', 'network'],
  ['recv', 'int', 'none', 'network'],
  ['openat2', 'int path in:@4=u64s int int', OPENS],
  ['epoll_ctl', 'int in:12', 'none'],
  ['splice', 'int', WRITES],
  ['provide_buffers', 'int', 'none'],
  ['remove_buffers', 'int', 'none'],
  ['tee', 'int', 'none'],
  ['shutdown', 'int', 'none', 'network'],
  ['renameat', 'int path path', RENAMES],
  ['unlinkat', 'int path', 'replayed: UNLINK, RMDIR'],
  ['mkdirat', 'int path', 'replayed: MKDIR'],
  ['symlinkat', 'int path path', 'replayed: SYMLINK'],
  ['linkat', 'int path path', 'replayed: LINK'],
  ['msg_ring', 'int', 'replayed: GONE; a file that is sent replaces another'],
  ['fsetxattr', 'int str in:@4 int int', 'replayed: XATTR, SETATTR'],
  ['setxattr', 'int str in:@4 path int', 'replayed: XATTR, SETATTR'],
  ['fgetxattr', 'int str', 'none'],
  ['getxattr', 'int str int path', 'none'],
  ['socket', 'int', 'none', 'network'],
  ['uring_cmd', 'int', 'unsupported: what it does its file decides; a discard of a disk is a raw write (TAINT)'],
  ['send_zc', 'int in:@4 in:sock:@5 int int int', 'none', 'network'],
  ['sendmsg_zc', 'int in:msg', 'none', 'network'],
  ['read_multishot', 'int', 'none'],
  ['waitid', 'int', 'none'],
  ['futex_wait', 'int', 'none'],
  ['futex_wake', 'int', 'none'],
  ['futex_waitv', 'int in:24*@4=u64s int int int', 'none'],
  ['fixed_fd_install', 'int', 'none'],
  ['ftruncate', 'int', 'replayed: SETATTR'],
  ['bind', 'int in:sock:@2 int', 'replayed: MKNOD; a socket that has a name', 'network'],
  ['listen', 'int', 'none', 'network'],
];

export const URING_OPS: readonly UringOp[] = ROWS.map(([name, args, effect, about], nr) => ({
  nr,
  name,
  args,
  effect,
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

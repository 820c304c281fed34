// SPDX-License-Identifier: MIT
/**
 * Ways to change a file other than a plain system call: one row each, named as the WAY() in guest/ways/ that does it.
 * A group is one boot of a guest, in which its ways run one after another.
 */
import type { Effect } from '../../lab/abi/effects.js';
import { CHANGEABLE, type Ext4Layout } from '../harness/features.js';

export interface Way {
  readonly name: string;
  /** It goes on for so long, and marks are taken meanwhile at random instants; undefined: it is over at once. */
  readonly ms?: number;
  readonly arg?: string;
  /** Least number of effects on the way's files, by kind. */
  readonly effects: Partial<Record<Effect['op'], number>>;
  /** Effects of these kinds must be absent: what happens there is not on the traced disk. */
  readonly without?: readonly Effect['op'][];
  /** System calls that the way's own tasks must be seen to make. */
  readonly calls?: readonly string[];
  /** Some effects must come from a thread of the program that it did not start itself: an io worker. */
  readonly worker?: true;
  /** Some effects must come from kernel threads of such a name; no other helper is allowed. */
  readonly kernelThreads?: RegExp;
  /** Programs that the kernel or the way starts, and that have effects on the way's files, by their names. */
  readonly programs?: readonly string[];
  /** Requests of io_uring that its processes must be seen to submit and issue, and that must end well. */
  readonly requests?: readonly string[];
  /** Requests that it must be seen to submit, and that are ended: never well. */
  readonly cancelled?: readonly string[];
  /** What its requests led to when they were submitted, as people are shown it. */
  readonly captured?: readonly RegExp[];
  /** Requests of these that end more than once, and how often at least. */
  readonly multishot?: Readonly<Record<string, number>>;
  /** Users that some of its requests must be seen to run as. */
  readonly euids?: readonly number[];
  /** What a rebuild across the way can't vouch for; undefined: it vouches for all. */
  readonly taint?: RegExp;
  /** The way's own files need not be the same after it. */
  readonly mayDiffer?: true;
}

export interface WayGroup {
  readonly title: string;
  readonly smp: number;
  readonly memoryMiB?: number;
  /** Size of a second disk, /dev/vdb, in MiB. */
  readonly secondDiskMiB?: number;
  /** Requests a second that it serves; undefined: as many as it can. */
  readonly secondDiskIops?: number;
  readonly kernelArgs?: readonly string[];
  /** Another ext4 for the traced disk. */
  readonly layout?: Ext4Layout;
  /** What debugfs does to it then. */
  readonly damage?: string;
  readonly mountOptions?: string;
  /** Shell commands before the first way. */
  readonly setUp?: string;
  readonly ways: readonly Way[];
}

const MS = 1500;

const URING: readonly Way[] = [
  {
    name: 'uring-write',
    ms: MS,
    effects: { WRITE: 20 },
    requests: ['write', 'writev', 'fsync'],
    calls: ['io_uring_setup', 'io_uring_enter'],
  },
  { name: 'uring-fixed', effects: { WRITE: 7 }, requests: ['write_fixed', 'read_fixed'], calls: ['io_uring_register'] },
  {
    name: 'uring-names',
    effects: { MKDIR: 2, CREATE: 3, SYMLINK: 1, LINK: 1, RENAME: 3, UNLINK: 1, RMDIR: 1, MKNOD: 1 },
    requests: ['mkdirat', 'openat', 'openat2', 'close', 'symlinkat', 'linkat', 'renameat', 'unlinkat', 'bind'],
    captured: [
      /^mkdirat addr="d"$/,
      // O_CREAT, O_EXCL and O_WRONLY; 0620; RESOLVE_BENEATH
      /^openat2 addr="d\/beneath" addr2=\[193 400 8\]$/,
      /^symlinkat addr="..\/b" addr2="d\/link"$/,
      /^linkat addr="d\/a" addr2="hard"$/,
      /^renameat addr="b" addr2="e"$/,
      /^unlinkat addr="gone"$/,
      /^bind addr=unix:"socket"$/,
    ],
  },
  {
    name: 'uring-attributes',
    effects: { XATTR: 3, FALLOCATE: 5, SETATTR: 1, PAGE: 4 },
    requests: ['setxattr', 'fsetxattr', 'fallocate', 'ftruncate', 'madvise', 'fadvise', 'sync_file_range'],
    captured: [
      /^fsetxattr addr="user.one" addr2="value of one"$/,
      /^setxattr addr="user.two" addr2="and of two" addr3="f"$/,
    ],
  },
  {
    name: 'uring-linked',
    effects: { CREATE: 9, WRITE: 16, MKDIR: 2 },
    requests: ['openat', 'write', 'close', 'mkdirat'],
  },
  {
    name: 'uring-async',
    ms: MS,
    effects: { WRITE: 20, RENAME: 1 },
    requests: ['write', 'ftruncate', 'renameat'],
    worker: true,
  },
  {
    name: 'uring-sqpoll',
    ms: MS,
    effects: { WRITE: 16, MKDIR: 3, RMDIR: 2 },
    requests: ['write', 'mkdirat', 'unlinkat'],
    worker: true,
  },
  {
    name: 'uring-personality',
    effects: { MKDIR: 3, CREATE: 1, WRITE: 1 },
    requests: ['mkdirat', 'openat', 'write'],
    euids: [0, 1000],
    worker: true,
  },
  { name: 'uring-inherited', effects: { WRITE: 12 }, requests: ['write'] },
  { name: 'uring-message', effects: { WRITE: 2 }, requests: ['msg_ring', 'write'] },
  { name: 'uring-multishot', effects: { WRITE: 5 }, requests: ['poll_add'], multishot: { poll_add: 5 } },
  { name: 'uring-exit', ms: MS, effects: { WRITE: 20 }, requests: ['write'], worker: true },
  { name: 'uring-splice', effects: { WRITE: 20 }, requests: ['splice', 'tee'] },
  { name: 'uring-socket', ms: MS, effects: { WRITE: 5, PAGE: 5 }, requests: ['send', 'recv', 'recvmsg', 'write'] },
  { name: 'uring-read-mapped', ms: MS, effects: { PAGE: 10 }, requests: ['read'] },
  { name: 'uring-direct', ms: MS, effects: { WRITE: 10, PAGE: 10 }, requests: ['write'] },
  { name: 'uring-direct-nowait', effects: { WRITE: 20 }, requests: ['write'] },
  {
    name: 'uring-reading',
    effects: { WRITE: 5, XATTR: 2 },
    requests: ['readv', 'statx', 'getxattr', 'fgetxattr'],
    captured: [/^statx addr="from"$/, /^getxattr addr="user.named" addr3="from"$/, /^fgetxattr addr="user.open"$/],
  },
  {
    name: 'uring-lent-buffers',
    effects: { WRITE: 4 },
    requests: ['provide_buffers', 'remove_buffers', 'read', 'read_multishot'],
    multishot: { read_multishot: 5 },
  },
  {
    name: 'uring-slots',
    effects: { WRITE: 2 },
    requests: ['files_update', 'fixed_fd_install', 'write'],
    captured: [/^files_update addr=\d+$/, /^write addr="by its slot"$/],
  },
  {
    name: 'uring-connection',
    effects: { MKNOD: 1, WRITE: 2 },
    requests: ['socket', 'bind', 'listen', 'accept', 'connect', 'send', 'sendmsg', 'recv', 'shutdown'],
    captured: [
      /^bind addr=unix:"listener"$/,
      /^connect addr=unix:"listener"$/,
      /^send addr="sent"$/,
      // SOL_SOCKET and SCM_RIGHTS
      /^sendmsg addr="a message in two pieces" "\\x14(\\x00){7}\\x01(\\x00){3}\\x01(\\x00){3}/,
    ],
  },
  {
    name: 'uring-uncopied',
    effects: { WRITE: 2 },
    // That the bytes are no longer in use is told by a request of the kernel's own, which nobody submitted.
    requests: ['send_zc', 'sendmsg_zc', 'recv'],
    captured: [
      /^send_zc addr="uncopied" addr2=127.0.0.1:4711$/,
      /^sendmsg_zc addr=127.0.0.1:4711 "a message in two pieces"$/,
    ],
  },
  {
    name: 'uring-timeouts',
    effects: { WRITE: 4 },
    requests: ['timeout', 'timeout_remove', 'nop'],
    cancelled: ['link_timeout'],
    captured: [
      /^timeout addr=0s\+2000001$/,
      /^timeout addr=86400s\+7$/,
      /^timeout_remove addr2=90000s\+8$/,
      /^link_timeout addr=0s\+2000001$/,
    ],
  },
  {
    name: 'uring-quiet',
    effects: { WRITE: 3 },
    requests: ['poll_add', 'write', 'read'],
    cancelled: ['timeout', 'mkdirat', 'symlinkat'],
  },
  {
    name: 'uring-descriptors',
    effects: { WRITE: 3 },
    requests: ['poll_remove', 'async_cancel', 'epoll_ctl'],
    cancelled: ['poll_add'],
    // EPOLLIN, and a number
    captured: [/^epoll_ctl addr="\\x01\\x00\\x00\\x00anomel\\x00\\x00"$/],
  },
  {
    name: 'uring-waits',
    effects: { WRITE: 3 },
    requests: ['waitid', 'futex_wait', 'futex_wake', 'futex_waitv'],
    captured: [/^futex_waitv addr=\[17 \d+ 130 18 \d+ 130\]$/],
  },
];

const BURST: readonly Way[] = [{ name: 'uring-burst', effects: { WRITE: 1 }, requests: ['poll_add', 'write'] }];

const COPIES: readonly Way[] = [
  { name: 'aio', ms: MS, effects: { WRITE: 10, PAGE: 5 }, calls: ['io_submit'] },
  { name: 'splice', effects: { WRITE: 15 }, calls: ['splice'] },
  { name: 'tee', effects: { WRITE: 2 }, calls: ['tee'] },
  { name: 'vmsplice', effects: { WRITE: 3, PAGE: 2 }, calls: ['vmsplice'] },
  { name: 'vmsplice-into-mapping', effects: { PAGE: 2 }, calls: ['vmsplice'] },
  { name: 'sendfile', effects: { WRITE: 20 }, calls: ['sendfile'] },
  { name: 'copy-range', effects: { WRITE: 20 }, calls: ['copy_file_range'] },
  { name: 'vm-writev', ms: MS, effects: { PAGE: 10 }, calls: ['process_vm_writev'] },
  { name: 'ptrace-poke', ms: MS, effects: { PAGE: 10 }, calls: ['ptrace'] },
  { name: 'proc-mem', ms: MS, effects: { PAGE: 10 }, calls: ['pwrite64'] },
  { name: 'direct-read-mapped', ms: 2 * MS, effects: { PAGE: 50 } },
  { name: 'direct-write', effects: { WRITE: 30 } },
  { name: 'direct-nowait', effects: { WRITE: 20 }, calls: ['pwritev2', 'io_submit'] },
  { name: 'direct-race', ms: 2 * MS, effects: { WRITE: 30, PAGE: 20 } },
  { name: 'passed-fd', effects: { WRITE: 1, SETATTR: 1 }, calls: ['sendmsg', 'recvmsg'] },
  { name: 'pidfd-getfd', effects: { WRITE: 1, SETATTR: 1 }, calls: ['pidfd_getfd'] },
  { name: 'by-handle', effects: { WRITE: 1, RENAME: 1 }, calls: ['open_by_handle_at'] },
  { name: 'core-dump', effects: { CREATE: 2, WRITE: 5, PAGE: 1 } },
  { name: 'core-pipe', arg: '/root/w/bin/core-reader', effects: { CREATE: 3, WRITE: 5 }, programs: ['core-reader'] },
  // The last record, when accounting is switched off, is written by a worker.
  { name: 'accounting', effects: { WRITE: 20 }, calls: ['acct'], kernelThreads: /^kworker\// },
];

const DISGUISES: readonly Way[] = [
  { name: 'ptrace-call', effects: { MKDIR: 1 }, calls: ['mkdir'] },
  { name: 'int80', effects: { MKDIR: 1 }, calls: ['mkdir'] },
  { name: 'exec-memfd', effects: { CREATE: 1, WRITE: 1 }, calls: ['execveat', 'openat'] },
  { name: 'exec-by-thread', effects: { CREATE: 1, WRITE: 1 }, calls: ['execve'] },
  { name: 'clone-parent', effects: { CREATE: 1, WRITE: 1 }, calls: ['clone'] },
  { name: 'daemon', effects: { CREATE: 1, WRITE: 1 }, calls: ['setsid'] },
];

const MOUNTS: readonly Way[] = [
  { name: 'mount-namespace', effects: { CREATE: 1, LINK: 1, UNLINK: 1, MKDIR: 3 } },
  { name: 'bind-mounts', effects: { WRITE: 4, MKDIR: 2 } },
  { name: 'chroot', effects: { CREATE: 1, LINK: 1, UNLINK: 1, MKDIR: 2 } },
  { name: 'pivot-root', effects: { CREATE: 2, LINK: 1, UNLINK: 1, MKDIR: 3 } },
  { name: 'pid-namespace', effects: { CREATE: 1, LINK: 1, UNLINK: 1, MKDIR: 1 } },
  { name: 'user-namespace', effects: { CREATE: 1, LINK: 1, UNLINK: 1, MKDIR: 1 } },
  { name: 'idmapped-mount', effects: { CREATE: 1, LINK: 1, UNLINK: 1, MKDIR: 3 } },
  { name: 'second-mount', arg: '/dev/vda', effects: { CREATE: 1, LINK: 1, UNLINK: 1, MKDIR: 1 } },
  { name: 'remount', effects: { WRITE: 50, SETATTR: 20 } },
  { name: 'overlay-change', ms: MS, effects: { CREATE: 13, XATTR: 3, WRITE: 30, PAGE: 4, SYMLINK: 1 } },
  { name: 'overlay-delete', effects: { MKNOD: 1, RENAME: 3, XATTR: 1 } },
  { name: 'overlay-rename', effects: { RENAME: 4 } },
  { name: 'overlay-redirect', effects: { XATTR: 2, RENAME: 3, LINK: 1 } },
  { name: 'overlay-tmpfs', effects: { CREATE: 14, MKDIR: 9 }, without: ['RENAME', 'UNLINK', 'PAGE'] },
  { name: 'fuse', effects: { WRITE: 60, SETATTR: 2, PAGE: 10 } },
  { name: 'tmpfs', ms: MS, effects: { CREATE: 1, MKDIR: 1, WRITE: 1 }, without: ['RENAME', 'UNLINK', 'PAGE'] },
  { name: 'loop-raw', ms: MS, effects: { WRITE: 20, FALLOCATE: 2 }, kernelThreads: /^kworker\/|^loop/ },
  { name: 'loop-direct', ms: MS, effects: { WRITE: 20, FALLOCATE: 2 }, kernelThreads: /^kworker\/|^loop/ },
  { name: 'loop-zeroed', ms: 4 * MS, effects: { FALLOCATE: 40 }, kernelThreads: /^kworker\/|^loop/ },
  {
    name: 'loop-immutable',
    ms: MS,
    effects: { FALLOCATE: 10, SETATTR: 2 },
    kernelThreads: /^kworker\/|^loop/,
  },
  { name: 'thawed', ms: 2 * MS, effects: { WRITE: 20 } },
  { name: 'loop-mapped', ms: MS, effects: { WRITE: 20, PAGE: 20 }, kernelThreads: /^kworker\/|^loop/ },
  { name: 'loop-ext4', ms: MS, effects: { WRITE: 20 }, kernelThreads: /^kworker\/|^loop/ },
  { name: 'loop-synced', ms: 4 * MS, effects: { WRITE: 20 }, kernelThreads: /^kworker\/|^loop/ },
];

/** What effects do not describe happens to another disk: no harm to this one. */
const RAW: readonly Way[] = [
  { name: 'raw-write', arg: '/dev/vdb', effects: {} },
  { name: 'raw-mapped', arg: '/dev/vdb', effects: {} },
  { name: 'raw-zero', arg: '/dev/vdb', effects: {} },
  { name: 'raw-discard', arg: '/dev/vdb', effects: {} },
];

/** The driver as a module, in the guest. */
export const MODULE = '/root/lemona.ko';

/** The same on the disk that is traced, and other things that only a taint tells of. */
const RAW_ROOT: readonly Way[] = [
  { name: 'swap-file', effects: { WRITE: 1 }, taint: /^the file is used for swapping$/, programs: ['mkswap'] },
  { name: 'raw-write', arg: '/dev/vda', effects: {}, taint: /^raw write of 4096 bytes at \d+$/ },
  { name: 'raw-partition', arg: '/dev/vda', effects: {}, taint: /^raw write of 4096 bytes at \d+$/ },
  { name: 'raw-direct', arg: '/dev/vda', effects: {}, taint: /^raw write of 4096 bytes at \d+$/ },
  { name: 'raw-mapped', arg: '/dev/vda', effects: {}, taint: /^raw write of 4096 bytes at \d+$/ },
  { name: 'raw-zero', arg: '/dev/vda', effects: {}, taint: /^raw write of 4096 bytes at \d+$/ },
  { name: 'raw-discard', arg: '/dev/vda', effects: {}, taint: /^raw write of 4096 bytes at \d+$/ },
  {
    name: 'raw-uring-discard',
    arg: '/dev/vda',
    effects: {},
    taint: /^raw write of 4096 bytes at \d+$/,
    requests: ['uring_cmd'],
  },
  { name: 'raw-fallocate', arg: '/dev/vda', effects: {}, taint: /^raw write of 4096 bytes at \d+$/ },
  { name: 'module', arg: MODULE, effects: {}, taint: /^module lemona was loaded$/, calls: ['finit_module'] },
  {
    name: 'fs-error',
    arg: '/sys/fs/ext4/vda/trigger_fs_error',
    effects: {},
    taint: /^the file system found an error in trigger_test_error\(\)$/,
  },
];

const REGISTERS = /^registers of PCI device 0000:00:[0-9a-f]{2}\.[0-7] were written or mapped$/;

const PCI: readonly Way[] = [
  { name: 'pci-read', effects: {} },
  { name: 'pci-config', effects: {}, taint: REGISTERS },
  { name: 'pci-config-proc', effects: {}, taint: REGISTERS },
  { name: 'pci-ports', effects: {}, taint: REGISTERS },
  { name: 'pci-map', effects: {}, taint: REGISTERS, calls: ['mmap'] },
  { name: 'pci-map-proc', effects: {}, taint: REGISTERS, calls: ['mmap'] },
];

const SET_VERSION = { effects: { WRITE: 1 }, taint: /^its generation was set$/, mayDiffer: true } as const;
const MOVED = { effects: { WRITE: 2 }, taint: /^extents were exchanged$/, mayDiffer: true } as const;
const RESIZED = { effects: {}, taint: /^the filesystem was resized$/ } as const;

/** Each by the entries of 64 and of 32 bits. */
const FILE_IOCTLS: readonly Way[] = [
  { name: 'set-version', ...SET_VERSION },
  { name: 'set-version-old', ...SET_VERSION },
  { name: 'set-version-32', ...SET_VERSION },
  { name: 'set-version-old-32', ...SET_VERSION },
  { name: 'move-extents', ...MOVED },
  { name: 'move-extents-32', ...MOVED },
  { name: 'swap-boot', effects: { WRITE: 1 }, taint: /^it became the boot loader$/, mayDiffer: true },
  { name: 'migrate', effects: { WRITE: 1, SETATTR: 1 }, taint: /^its block map was converted$/, mayDiffer: true },
  { name: 'xattr-twice', effects: { XATTR: 3 }, taint: /^an attribute has two values$/, mayDiffer: true },
  { name: 'quota-on', effects: { WRITE: 1 }, taint: /^it shall keep quotas$/, calls: ['quotactl'], mayDiffer: true },
];

/** A group of blocks says that more of them are in use than are. */
const DAMAGED: readonly Way[] = [
  {
    name: 'bad-bitmap',
    effects: { FALLOCATE: 1 },
    taint: /^the file system found an error in ext4_mb_generate_buddy\(\)$/,
    mayDiffer: true,
  },
];

const DISK_IOCTLS: readonly Way[] = [
  { name: 'group-add', ...RESIZED },
  { name: 'group-add-32', ...RESIZED },
  { name: 'group-extend', ...RESIZED },
  { name: 'group-extend-32', ...RESIZED },
  { name: 'resize', ...RESIZED },
  { name: 'resize-32', ...RESIZED },
  { name: 'set-uuid', effects: {}, taint: /^the filesystem's UUID was set$/ },
  { name: 'set-uuid-32', effects: {}, taint: /^the filesystem's UUID was set$/ },
  { name: 'set-label', effects: {}, taint: /^the filesystem's label was set$/ },
  { name: 'set-label-32', effects: {}, taint: /^the filesystem's label was set$/ },
];

const MAPPED: readonly Way[] = [
  { name: 'map-two-cpus', ms: 2 * MS, effects: { PAGE: 100 } },
  { name: 'map-threads', ms: MS, effects: { PAGE: 100 } },
  { name: 'map-fork', ms: MS, effects: { PAGE: 100 } },
  { name: 'map-vfork', effects: { PAGE: 10 } },
  { name: 'map-exec', effects: { PAGE: 48 } },
  { name: 'map-exit', ms: MS, effects: { PAGE: 48 } },
  { name: 'map-kill', ms: MS, effects: { PAGE: 48 } },
  { name: 'map-spin', ms: 2 * MS, effects: { PAGE: 100 } },
  { name: 'map-msync', ms: MS, effects: { PAGE: 50 }, calls: ['msync'] },
  { name: 'map-munmap', ms: MS, effects: { PAGE: 50 } },
  { name: 'map-remap', ms: MS, effects: { PAGE: 50 } },
  { name: 'map-nonlinear', effects: { PAGE: 32 }, calls: ['remap_file_pages'] },
  { name: 'map-advise', ms: MS, effects: { PAGE: 50, FALLOCATE: 1 } },
  { name: 'map-protect', ms: MS, effects: { PAGE: 50 } },
  { name: 'map-private', ms: MS, effects: { PAGE: 30 } },
  { name: 'map-undo', ms: MS, effects: { PAGE: 30 } },
  { name: 'map-hard-link', ms: MS, effects: { PAGE: 30, LINK: 1, UNLINK: 1 } },
  { name: 'map-nameless', ms: MS, effects: { PAGE: 30, LINK: 1 } },
  { name: 'map-after-close', ms: MS, effects: { PAGE: 30 } },
  { name: 'map-kernel-stores', ms: MS, effects: { PAGE: 50 } },
];

const RANGES: readonly Way[] = [
  { name: 'map-truncate', ms: 2 * MS, effects: { PAGE: 50, SETATTR: 10 } },
  { name: 'map-punch', ms: 2 * MS, effects: { PAGE: 50, FALLOCATE: 10 } },
  { name: 'map-zero-range', ms: 2 * MS, effects: { PAGE: 50, FALLOCATE: 10 } },
  { name: 'map-collapse', ms: 2 * MS, effects: { PAGE: 50, FALLOCATE: 10 } },
  { name: 'map-insert', ms: 2 * MS, effects: { PAGE: 50, FALLOCATE: 10 } },
  { name: 'map-write', ms: 2 * MS, effects: { PAGE: 50, WRITE: 10 } },
  { name: 'map-grow', effects: { PAGE: 40 } },
  { name: 'map-sparse', effects: { PAGE: 100, FALLOCATE: 2 } },
];

const PRESSURE: readonly Way[] = [
  { name: 'map-compact', ms: 2 * MS, effects: { PAGE: 100 } },
  { name: 'map-reclaim', ms: 6 * MS, arg: '240', effects: { PAGE: 100 } },
];

const PINNED: readonly Way[] = [{ name: 'map-pinned', ms: 4 * MS, arg: '/dev/vdb', effects: { PAGE: 100 } }];

/** Writers wait for the reader all the time. */
const TINY_BUFFERS = ['lemona.pool_mb=1', 'lemona.subbuf_kb=96'];

const SWAP_ON = 'mkswap /dev/vdb >/dev/null && swapon /dev/vdb';

export const WAY_GROUPS: readonly WayGroup[] = [
  { title: 'io_uring', smp: 2, setUp: 'ifconfig lo up', ways: URING },
  // Nothing else runs meanwhile that would make room for their records.
  { title: 'requests that end at once', smp: 1, kernelArgs: TINY_BUFFERS, ways: BURST },
  { title: 'copies, other processes, borrowed descriptors and dumps', smp: 2, ways: COPIES },
  { title: 'programs in disguise', smp: 2, ways: DISGUISES },
  { title: 'mounts, layers and loop devices', smp: 2, ways: MOUNTS },
  { title: 'raw writes to another disk', smp: 1, secondDiskMiB: 16, ways: RAW },
  { title: 'what only a taint tells of', smp: 1, ways: RAW_ROOT },
  { title: 'registers of PCI devices', smp: 1, ways: PCI },
  { title: 'ioctls on files of ext4', smp: 1, layout: CHANGEABLE, mountOptions: 'usrquota', ways: FILE_IOCTLS },
  { title: 'a damaged ext4', smp: 1, layout: CHANGEABLE, damage: 'set_bg 3 free_blocks_count 5', ways: DAMAGED },
  { title: 'ioctls on all of ext4', smp: 1, layout: CHANGEABLE, ways: DISK_IOCTLS },
  { title: 'stores through mappings', smp: 2, ways: MAPPED },
  { title: 'mappings of files whose ranges move', smp: 2, kernelArgs: TINY_BUFFERS, ways: RANGES },
  { title: 'mappings that a slow disk stores to', smp: 2, secondDiskMiB: 32, secondDiskIops: 40, ways: PINNED },
  {
    title: 'mappings when memory is short',
    smp: 2,
    memoryMiB: 192,
    secondDiskMiB: 256,
    setUp: SWAP_ON,
    ways: PRESSURE,
  },
];

/** Folder of all ways in the guest; each has one of its own, named as it is. */
export const WAYS_DIR = '/root/w';

/** Runs the group's ways one after another, says how each ended, and takes a mark after it and marks beside it. */
export function groupScript(group: WayGroup, seed: number): string {
  const rows = group.ways.map(({ name, ms = 0, arg = '' }) => `way ${name} ${ms} ${arg}`);
  return `
set -u
RANDOM=${seed}
way() {
  name=$1 ms=$2
  shift 2
  ln -s ../ways ${WAYS_DIR}/bin/$name
  mkdir ${WAYS_DIR}/$name
  ( cd ${WAYS_DIR}/$name && exec ${WAYS_DIR}/bin/$name ${seed} $ms "$@" ) &
  pid=$! n=0
  while [ $ms -gt 0 ] && kill -0 $pid 2>/dev/null; do
    sleep 0.$((RANDOM % 5 + 1))
    lemona-mark $name.$n >/dev/null || exit 99
    n=$((n + 1))
  done
  wait $pid
  echo "way $name ended with $?"
  lemona-mark $name >/dev/null || exit 99
}
mkdir -p ${WAYS_DIR}/bin
mv /root/ways ${WAYS_DIR}/ways
ln -s ../ways ${WAYS_DIR}/bin/core-reader
${group.setUp ?? ':'}
lemona-mark ready >/dev/null
${rows.join('\n')}
`;
}

// SPDX-License-Identifier: MIT
/**
 * Where the fields that strace names stand in captured structures: by the first name that strace prints and the bytes
 * of one structure. Structures whose fields all have the same width need no row.
 */

/** Offset and bytes of a number; a third item: it is a string of at most so many bytes. */
export type FieldPlace = readonly [offset: number, bytes: number, isString?: 'string'];

export interface Layout {
  readonly first: string;
  readonly bytes: number;
  readonly fields: Readonly<Record<string, FieldPlace>>;
}

export const LAYOUTS: readonly Layout[] = [
  {
    first: 'st_dev',
    bytes: 144,
    fields: {
      st_ino: [8, 8],
      st_nlink: [16, 8],
      st_mode: [24, 4],
      st_uid: [28, 4],
      st_gid: [32, 4],
      st_size: [48, 8],
      st_blksize: [56, 8],
      st_blocks: [64, 8],
      st_atime: [72, 8],
      st_atime_nsec: [80, 8],
      st_mtime: [88, 8],
      st_mtime_nsec: [96, 8],
      st_ctime: [104, 8],
      st_ctime_nsec: [112, 8],
    },
  },
  {
    first: 'st_dev', // ia32's stat64
    bytes: 96,
    fields: {
      st_ino: [88, 8],
      st_mode: [16, 4],
      st_nlink: [20, 4],
      st_uid: [24, 4],
      st_gid: [28, 4],
      st_size: [44, 8],
      st_blksize: [52, 4],
      st_blocks: [56, 8],
      st_atime: [64, 4],
      st_atime_nsec: [68, 4],
      st_mtime: [72, 4],
      st_mtime_nsec: [76, 4],
      st_ctime: [80, 4],
      st_ctime_nsec: [84, 4],
    },
  },
  {
    first: 'st_dev', // ia32's stat
    bytes: 64,
    fields: {
      st_ino: [4, 4],
      st_mode: [8, 2],
      st_nlink: [10, 2],
      st_uid: [12, 2],
      st_gid: [14, 2],
      st_size: [20, 4],
      st_atime: [32, 4],
      st_mtime: [40, 4],
      st_ctime: [48, 4],
    },
  },
  {
    first: 'stx_mask',
    bytes: 256,
    fields: {
      stx_mask: [0, 4],
      stx_blksize: [4, 4],
      stx_attributes: [8, 8],
      stx_nlink: [16, 4],
      stx_uid: [20, 4],
      stx_gid: [24, 4],
      stx_mode: [28, 2],
      stx_ino: [32, 8],
      stx_size: [40, 8],
      stx_blocks: [48, 8],
    },
  },
  {
    first: 'f_type',
    bytes: 120,
    fields: {
      f_type: [0, 8],
      f_bsize: [8, 8],
      f_blocks: [16, 8],
      f_bfree: [24, 8],
      f_bavail: [32, 8],
      f_files: [40, 8],
      f_ffree: [48, 8],
      f_namelen: [64, 8],
      f_frsize: [72, 8],
      f_flags: [80, 8],
    },
  },
  { first: 'fd', bytes: 8, fields: { fd: [0, 4], events: [4, 2] } },
  { first: 'events', bytes: 12, fields: { events: [0, 4], u32: [4, 4], u64: [4, 8] } },
  {
    first: 'c_iflag',
    bytes: 36,
    fields: { c_iflag: [0, 4], c_oflag: [4, 4], c_cflag: [8, 4], c_lflag: [12, 4], c_line: [16, 1] },
  },
  { first: 'sa_handler', bytes: 32, fields: { sa_handler: [0, 8], sa_flags: [8, 8], sa_restorer: [16, 8] } },
  { first: 'sa_handler', bytes: 20, fields: { sa_handler: [0, 4], sa_flags: [4, 4], sa_restorer: [8, 4] } },
  {
    first: 'l_type',
    bytes: 32,
    fields: { l_type: [0, 2], l_whence: [2, 2], l_start: [8, 8], l_len: [16, 8], l_pid: [24, 4] },
  },
  {
    first: 'l_type', // ia32's flock
    bytes: 16,
    fields: { l_type: [0, 2], l_whence: [2, 2], l_start: [4, 4], l_len: [8, 4], l_pid: [12, 4] },
  },
  ...[28, 128].map((bytes) => ({
    first: 'si_signo',
    bytes,
    fields: { si_signo: [0, 4], si_code: [8, 4], si_pid: [16, 4], si_uid: [20, 4], si_status: [24, 4] } as const,
  })),
  {
    first: 'uptime',
    bytes: 112,
    fields: {
      uptime: [0, 8],
      totalram: [32, 8],
      freeram: [40, 8],
      sharedram: [48, 8],
      bufferram: [56, 8],
      totalswap: [64, 8],
      freeswap: [72, 8],
      procs: [80, 2],
      mem_unit: [104, 4],
    },
  },
  {
    first: 'modes',
    bytes: 208,
    fields: {
      modes: [0, 4],
      offset: [8, 8],
      freq: [16, 8],
      maxerror: [24, 8],
      esterror: [32, 8],
      status: [40, 4],
      constant: [48, 8],
      precision: [56, 8],
      tolerance: [64, 8],
      tv_sec: [72, 8],
      tick: [88, 8],
    },
  },
  { first: 'mtype', bytes: 0, fields: { mtype: [0, 8], mtext: [8, 256, 'string'] } },
  {
    first: 'sysname',
    bytes: 390,
    fields: {
      sysname: [0, 65, 'string'],
      nodename: [65, 65, 'string'],
      release: [130, 65, 'string'],
      version: [195, 65, 'string'],
      machine: [260, 65, 'string'],
      domainname: [325, 65, 'string'],
    },
  },
  {
    first: 'uid', // of shm_perm
    bytes: 112,
    fields: {
      uid: [4, 4],
      gid: [8, 4],
      shm_segsz: [48, 8],
      shm_atime: [56, 8],
      shm_dtime: [64, 8],
      shm_ctime: [72, 8],
      shm_cpid: [80, 4],
      shm_lpid: [84, 4],
      shm_nattch: [88, 8],
    },
  },
  {
    first: 'aio_data',
    bytes: 64,
    fields: {
      aio_data: [0, 8],
      aio_lio_opcode: [16, 2],
      aio_fildes: [20, 4],
      aio_nbytes: [32, 8],
      aio_offset: [40, 8],
    },
  },
  {
    first: 'flags',
    bytes: 88,
    fields: {
      flags: [0, 8],
      pidfd: [8, 8],
      child_tid: [16, 8],
      exit_signal: [32, 8],
      stack: [40, 8],
      stack_size: [48, 8],
      tls: [56, 8],
    },
  },
  { first: 'sigev_signo', bytes: 64, fields: { sigev_signo: [8, 4], sigev_notify: [12, 4] } },
  { first: 'sigsetsize', bytes: 16, fields: { sigsetsize: [8, 8] } },
];

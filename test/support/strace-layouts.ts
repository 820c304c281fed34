// SPDX-License-Identifier: MIT
/**
 * Where the fields that strace names stand in captured structures: by the first name that strace prints and the bytes
 * of one structure. Structures whose fields all have the same width need no row.
 */

/**
 * Offset and bytes of a number, or of each number of an array; a third item: it is a string of at most so many bytes,
 * or text, which a zero ends before that.
 */
export type FieldPlace = readonly [offset: number, bytes: number, kind?: 'string' | 'text'];

export interface Layout {
  readonly first: string;
  readonly bytes: number;
  /** Of compat alone, or of 64-bit calls alone. */
  readonly isCompat?: boolean;
  readonly fields: Readonly<Record<string, FieldPlace>>;
}

type Fields = Layout['fields'];

const TERMIOS: Fields = {
  c_iflag: [0, 4],
  c_oflag: [4, 4],
  c_cflag: [8, 4],
  c_lflag: [12, 4],
  c_line: [16, 1],
  c_cc: [17, 1],
};

/** A name and one of several things; only the last has a layout of its own under compat. */
function ifreq(isWide: boolean): Fields {
  const long = isWide ? 8 : 4;
  return {
    ifr_name: [0, 16, 'text'],
    ...Object.fromEntries(
      ['ifr_ifindex', 'ifr_metric', 'ifr_mtu', 'ifr_qlen'].map((key): [string, FieldPlace] => [key, [16, 4]]),
    ),
    ifr_flags: [16, 2],
    ifr_slave: [16, 16, 'text'],
    ifr_newname: [16, 16, 'text'],
    sa_family: [16, 2],
    sin_port: [18, 2, 'string'],
    sin_addr: [20, 4, 'string'],
    sa_data: [18, 14, 'string'],
    mem_start: [16, long],
    mem_end: [16 + long, long],
    base_addr: [16 + 2 * long, 2],
    irq: [18 + 2 * long, 1],
    dma: [19 + 2 * long, 1],
    port: [20 + 2 * long, 1],
  };
}

function loopInfo64(at: number): Fields {
  return {
    lo_device: [at, 8],
    lo_inode: [at + 8, 8],
    lo_rdevice: [at + 16, 8],
    lo_offset: [at + 24, 8],
    lo_sizelimit: [at + 32, 8],
    lo_number: [at + 40, 4],
    lo_encrypt_type: [at + 44, 4],
    lo_encrypt_key_size: [at + 48, 4],
    lo_flags: [at + 52, 4],
    lo_file_name: [at + 56, 64, 'text'],
    lo_crypt_name: [at + 120, 64, 'text'],
    lo_encrypt_key: [at + 184, 32, 'string'],
    lo_init: [at + 216, 8],
  };
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
  { first: 'c_iflag', bytes: 36, fields: TERMIOS },
  { first: 'c_iflag', bytes: 44, fields: { ...TERMIOS, c_ispeed: [36, 4], c_ospeed: [40, 4] } },
  {
    first: 'c_iflag', // struct termio
    bytes: 18,
    fields: { c_iflag: [0, 2], c_oflag: [2, 2], c_cflag: [4, 2], c_lflag: [6, 2], c_line: [8, 1], c_cc: [9, 1] },
  },
  ...([40, 32] as const).flatMap((bytes) =>
    ['ifr_name', 'ifr_ifindex'].map((first) => ({ first, bytes, fields: ifreq(bytes === 40) })),
  ),
  {
    first: 'heads',
    bytes: 16,
    fields: { heads: [0, 1], sectors: [1, 1], cylinders: [2, 2], start: [8, 8] },
  },
  {
    first: 'heads', // ia32's
    bytes: 8,
    fields: { heads: [0, 1], sectors: [1, 1], cylinders: [2, 2], start: [4, 4] },
  },
  { first: 'op', bytes: 24, fields: { op: [0, 4], flags: [4, 4], datalen: [8, 4], data: [16, 8] } },
  { first: 'op', bytes: 16, fields: { op: [0, 4], flags: [4, 4], datalen: [8, 4], data: [12, 4] } },
  {
    first: 'act_mask',
    bytes: 72,
    fields: {
      act_mask: [32, 2],
      buf_size: [36, 4],
      buf_nr: [40, 4],
      start_lba: [48, 8],
      end_lba: [56, 8],
      pid: [64, 4],
    },
  },
  { first: 'lo_device', bytes: 232, fields: loopInfo64(0) },
  { first: 'fd', bytes: 304, fields: { fd: [0, 4], block_size: [4, 4], ...loopInfo64(8) } },
  {
    first: 'lo_number',
    bytes: 168,
    fields: {
      lo_number: [0, 4],
      lo_device: [8, 8],
      lo_inode: [16, 8],
      lo_rdevice: [24, 8],
      lo_offset: [32, 4],
      lo_encrypt_type: [36, 4],
      lo_encrypt_key_size: [40, 4],
      lo_flags: [44, 4],
      lo_name: [48, 64, 'text'],
      lo_encrypt_key: [112, 32, 'string'],
      lo_init: [144, 8],
      reserved: [160, 1],
    },
  },
  {
    first: 'lo_number', // ia32's
    bytes: 140,
    fields: {
      lo_number: [0, 4],
      lo_device: [4, 2],
      lo_inode: [8, 4],
      lo_rdevice: [12, 2],
      lo_offset: [16, 4],
      lo_encrypt_type: [20, 4],
      lo_encrypt_key_size: [24, 4],
      lo_flags: [28, 4],
      lo_name: [32, 64, 'text'],
      lo_encrypt_key: [96, 32, 'string'],
      lo_init: [128, 4],
      reserved: [136, 1],
    },
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
    isCompat: false,
    fields: { si_signo: [0, 4], si_code: [8, 4], si_pid: [16, 4], si_uid: [20, 4], si_status: [24, 4] } as const,
  })),
  // waitid() of compat writes no more than these.
  ...[24, 128].map((bytes) => ({
    first: 'si_signo',
    bytes,
    isCompat: true,
    fields: {
      si_signo: [0, 4],
      si_code: [8, 4],
      si_pid: [12, 4],
      si_uid: [16, 4],
      si_status: [20, 4],
      si_int: [20, 4],
    } as const,
  })),
  { first: 'ss_sp', bytes: 24, fields: { ss_sp: [0, 8], ss_flags: [8, 4], ss_size: [16, 8] } },
  { first: 'ss_sp', bytes: 12, fields: { ss_sp: [0, 4], ss_flags: [4, 4], ss_size: [8, 4] } },
  { first: 'len', bytes: 16, fields: { len: [0, 2] } }, // struct sock_fprog
  { first: 'len', bytes: 8, fields: { len: [0, 2] } },
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
  {
    first: 'sival_int',
    bytes: 64,
    isCompat: true,
    fields: { sival_int: [0, 4], sival_ptr: [0, 4], sigev_signo: [4, 4], sigev_notify: [8, 4] },
  },
  { first: 'sigsetsize', bytes: 16, fields: { sigsetsize: [8, 8] } },
];

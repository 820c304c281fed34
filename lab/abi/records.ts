// SPDX-License-Identifier: MIT
/**
 * The record format: the single source of truth. `generate.ts` turns these tables into `module/lemona_abi.h`
 * and `docs/format.md`; the TypeScript decoder takes its offsets from `layout.ts`, which reads them too.
 *
 * Rules (the generator refuses a table that breaks one):
 *  1. All integers are little-endian. Fields stand at their natural alignment and there are no holes: padding is
 *     a named field and is written as zero.
 *  2. The size of every struct is a multiple of its alignment; every record is a multiple of 8 bytes.
 *  3. Strings in record tails are not terminated; the record is padded with zeros to 8.
 *  4. A change of any name, type, order or number here changes LEMONA_ABI_HASH; a reader refuses another hash.
 */

/** Wire types of a field; `struct lemona_x` names embed another struct of this table. */
export type WireType = 'u8' | 'u16' | 'u32' | 'u64' | 's32' | 's64' | 'char' | `struct ${string}`;

export interface FieldDef {
  readonly name: string;
  readonly type: WireType;
  /** Array length; left out for a scalar. */
  readonly count?: number;
  readonly doc?: string;
}

export interface StructDef {
  readonly name: string;
  /** Bytes, the variable tail not counted: a second, human statement that the generator checks. */
  readonly size: number;
  readonly doc: string;
  readonly fields: readonly FieldDef[];
  /** What follows the fixed part, as a C flexible array. */
  readonly tail?: {
    readonly name: string;
    readonly type: 'u8' | 'char' | 'u64';
    /** A comment in the driver's header: changing it makes another driver of other kernels. */
    readonly doc: string;
    /** What the document says instead. */
    readonly meaning?: string;
  };
}

export interface NumberDef {
  readonly name: string;
  readonly value: number;
  readonly doc: string;
  /** The struct that holds this kind's or opcode's fixed part. */
  readonly struct?: string;
}

/** First word of every sub-buffer: the bytes "LMNA". */
export const MAGIC = 0x414e4d4c;
export const VERSION = 1;
/** Largest sub-buffer, header included. Also the read() buffer a consumer must offer. */
export const SUBBUF_MAX = 1048576;
/** Where the six kind bits start in the first word of a record; the bits below hold its size. */
export const REC_KIND_SHIFT = 26;
/** xattr value_len of a removed attribute. */
export const XATTR_REMOVED = 0xffffffff;

export const RECORD_STRUCTS = [
  {
    name: 'lemona_subbuf',
    size: 96,
    doc: 'Header of a sub-buffer: a self-contained run of records of one CPU stream.',
    fields: [
      { name: 'magic', type: 'u32', doc: 'LEMONA_MAGIC, the bytes "LMNA"' },
      { name: 'version', type: 'u16', doc: 'LEMONA_VERSION' },
      { name: 'cpu', type: 'u16', doc: 'the CPU whose stream this is' },
      { name: 'abi_hash', type: 'u32', doc: 'LEMONA_ABI_HASH of the writer' },
      { name: 'length', type: 'u32', doc: 'total bytes, header included; a multiple of 8, at most LEMONA_SUBBUF_MAX' },
      { name: 'boot_id', type: 'u64', doc: 'drawn at random once per boot' },
      { name: 'number', type: 'u64', doc: 'counts the sub-buffers of this stream, from 0' },
      { name: 'mono_ns', type: 'u64', doc: 'monotonic clock that the dt of the records is added to' },
      { name: 'real_ns', type: 'u64', doc: 'wall clock at the same instant, ns since 1970' },
      { name: 'seq_first', type: 'u64', doc: 'first effect sequence number inside; 0: holds no effect' },
      { name: 'seq_last', type: 'u64', doc: 'last effect sequence number inside; 0: holds no effect' },
      { name: 'records', type: 'u32', doc: 'records inside' },
      { name: 'effects', type: 'u32', doc: 'of those, effects' },
      { name: 'issued', type: 'u64', doc: 'records issued on this stream since boot, this sub-buffer included' },
      { name: 'dropped', type: 'u64', doc: 'of those, dropped' },
      { name: 'crc32c', type: 'u32', doc: 'CRC-32C over header (this field 0) and body' },
      { name: 'flags', type: 'u32', doc: 'zero, or LEMONA_CATEGORY_*: only a part of it is here; PART comes first' },
    ],
  },
  {
    name: 'lemona_rec',
    size: 16,
    doc: 'Header of every record.',
    fields: [
      {
        name: 'size_kind',
        type: 'u32',
        doc: 'low 26 bits: bytes, header included, a multiple of 8; top 6 bits: LEMONA_KIND_*',
      },
      { name: 'code', type: 'u16', doc: 'system-call number, opcode or reason, as the kind says' },
      { name: 'flags', type: 'u16', doc: 'LEMONA_F_*' },
      {
        name: 'tid',
        type: 'u32',
        doc: 'thread id of the current task in the initial pid namespace; of a PAGE: who stored first since the page was captured before',
      },
      { name: 'dt', type: 'u32', doc: 'ns since mono_ns of the sub-buffer' },
    ],
  },
  {
    name: 'lemona_tlv',
    size: 16,
    doc: 'Captured memory of a system call: this header, len bytes, zeros up to a multiple of 8.',
    fields: [
      { name: 'type', type: 'u16', doc: 'LEMONA_TLV_*' },
      { name: 'arg', type: 'u16', doc: 'index of the argument, from 0' },
      { name: 'len', type: 'u32', doc: 'bytes captured' },
      { name: 'true_len', type: 'u32', doc: 'bytes there were' },
      { name: 'flags', type: 'u32', doc: 'LEMONA_TLV_F_*' },
    ],
  },
  {
    name: 'lemona_attr',
    size: 96,
    doc: 'Attributes of an inode, sampled right after the sequence number was drawn.',
    fields: [
      { name: 'ino', type: 'u64', doc: 'inode number; 0: no inode' },
      { name: 'gen', type: 'u32', doc: 'generation' },
      { name: 'mode', type: 'u32', doc: 'type and permission bits' },
      { name: 'uid', type: 'u32', doc: 'owner' },
      { name: 'gid', type: 'u32', doc: 'group' },
      { name: 'nlink', type: 'u32', doc: 'links' },
      { name: 'rdev', type: 'u32', doc: 'new_encode_dev() of a device node' },
      { name: 'size', type: 'u64', doc: 'bytes' },
      { name: 'sec', type: 's64', count: 4, doc: 'access, modification, change, birth time: seconds since 1970' },
      { name: 'nsec', type: 'u32', count: 4, doc: 'their nanoseconds' },
      { name: 'flags', type: 'u32', doc: 'FS_*_FL as FS_IOC_GETFLAGS gives them' },
      { name: 'projid', type: 'u32', doc: 'project id' },
    ],
  },
  {
    name: 'lemona_entry',
    size: 16,
    doc: 'A system call was entered: the arguments (their count is in the flags), then TLVs.',
    fields: [{ name: 'h', type: 'struct lemona_rec', doc: 'code: system-call number' }],
    tail: { name: 'args', type: 'u64', doc: 'arguments, then TLVs' },
  },
  {
    name: 'lemona_exit',
    size: 24,
    doc: 'A system call returned; TLVs follow.',
    fields: [
      { name: 'h', type: 'struct lemona_rec', doc: 'code: system-call number' },
      { name: 'ret', type: 's64', doc: 'result, or a negative errno' },
    ],
    tail: { name: 'tlvs', type: 'u8', doc: 'TLVs' },
  },
  {
    name: 'lemona_switch',
    size: 24,
    doc: 'The scheduler switched tasks; tid is the task that left.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'next_tid', type: 'u32', doc: 'the task that came; 0: idle' },
      { name: 'prev_state', type: 'u32', doc: 'state of the task that left; 0: it was runnable' },
    ],
  },
  {
    name: 'lemona_task',
    size: 64,
    doc: 'A task was born, or was already there when recording began.',
    fields: [
      { name: 'h', type: 'struct lemona_rec', doc: 'code: LEMONA_TASK_*; tid: the parent, for a fork' },
      { name: 'tid', type: 'u32', doc: 'thread id of the task' },
      { name: 'tgid', type: 'u32', doc: 'its process' },
      { name: 'parent_tgid', type: 'u32', doc: 'the parent process' },
      { name: 'task_flags', type: 'u32', doc: 'LEMONA_TASK_F_*' },
      { name: 'uid', type: 'u32' },
      { name: 'gid', type: 'u32' },
      { name: 'euid', type: 'u32' },
      { name: 'egid', type: 'u32' },
      { name: 'comm', type: 'char', count: 16, doc: 'task name, padded with zeros' },
    ],
  },
  {
    name: 'lemona_exec',
    size: 72,
    doc: 'A program was executed.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'tgid', type: 'u32' },
      { name: 'uid', type: 'u32' },
      { name: 'gid', type: 'u32' },
      { name: 'euid', type: 'u32' },
      { name: 'ino', type: 'u64', doc: 'inode of the executable' },
      { name: 'gen', type: 'u32' },
      { name: 'dev', type: 'u32', doc: 'new_encode_dev() of its filesystem' },
      { name: 'comm', type: 'char', count: 16, doc: 'task name, padded with zeros' },
      { name: 'path_len', type: 'u16', doc: 'bytes of path' },
      { name: 'pad', type: 'u16' },
      { name: 'egid', type: 'u32' },
    ],
    tail: { name: 'path', type: 'char', doc: 'path as the program loader saw it' },
  },
  {
    name: 'lemona_task_exit',
    size: 24,
    doc: 'A task ended.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'code', type: 's32', doc: 'as a wait status' },
      { name: 'tgid', type: 'u32' },
    ],
  },
  {
    name: 'lemona_cred',
    size: 48,
    doc: 'The credentials of the current task changed.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'uid', type: 'u32' },
      { name: 'gid', type: 'u32' },
      { name: 'euid', type: 'u32' },
      { name: 'egid', type: 'u32' },
      { name: 'suid', type: 'u32' },
      { name: 'sgid', type: 'u32' },
      { name: 'fsuid', type: 'u32' },
      { name: 'fsgid', type: 'u32' },
    ],
  },
  {
    name: 'lemona_fault',
    size: 48,
    doc: 'A page fault; code 0: a write fault on a shared file mapping.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'ino', type: 'u64' },
      { name: 'gen', type: 'u32' },
      { name: 'dev', type: 'u32' },
      { name: 'index', type: 'u64', doc: 'page index in the file' },
      { name: 'address', type: 'u64', doc: 'faulting address' },
    ],
  },
  {
    name: 'lemona_loss',
    size: 40,
    doc: 'Records of this CPU stream were lost; code: LEMONA_LOSS_*.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'seq_first', type: 'u64', doc: 'first lost effect; 0: none' },
      { name: 'seq_last', type: 'u64', doc: 'last lost effect; 0: none' },
      { name: 'effects', type: 'u32', doc: 'effects lost' },
      { name: 'records', type: 'u32', doc: 'records lost, effects included' },
    ],
  },
  {
    name: 'lemona_lost',
    size: 72,
    doc: 'What lost effects may have touched; LOSS declares their numbers. Notes on one inode may be joined: their sum holds.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'seq_first', type: 'u64', doc: 'smallest number among the lost effects that this note speaks of' },
      { name: 'seq_last', type: 'u64', doc: 'largest' },
      { name: 'ino', type: 'u64', doc: 'inode; 0: any inode of that filesystem' },
      { name: 'gen', type: 'u32', doc: 'its generation; 0 if ino is 0' },
      { name: 'dev', type: 'u32', doc: 'new_encode_dev() of its superblock; 0 with ino 0: any filesystem' },
      { name: 'what', type: 'u32', doc: 'LEMONA_LOST_*' },
      { name: 'effects', type: 'u32', doc: 'lost effects that this note counts; each is counted by one note' },
      { name: 'pos', type: 'u64', doc: 'CONTENT: first byte; else 0' },
      { name: 'len', type: 'u64', doc: 'CONTENT: bytes, 2^64-1: to the end; else 0' },
    ],
  },
  {
    name: 'lemona_uring',
    size: 56,
    doc: 'A request of io_uring; code: its opcode. TLVs follow a SUBMIT: the submission queue entry, paths, buffers.',
    fields: [
      { name: 'h', type: 'struct lemona_rec', doc: 'flags: LEMONA_URING_*; tid: who submits, issues or completes' },
      { name: 'ring', type: 'u64', doc: 'which ring: an opaque number' },
      { name: 'user_data', type: 'u64', doc: 'the request, as the program names it' },
      { name: 'request', type: 'u64', doc: 'the request, while it runs: an opaque number that is used again' },
      { name: 'result', type: 's32', doc: 'COMPLETE: of the request; else 0' },
      { name: 'tgid', type: 'u32', doc: 'the process' },
      { name: 'euid', type: 'u32', doc: 'ISSUE: the credentials it runs with, a registered personality included' },
      { name: 'egid', type: 'u32' },
    ],
    tail: { name: 'tlvs', type: 'u8', doc: 'TLVs' },
  },
  {
    name: 'lemona_info',
    size: 16,
    doc: 'Facts about the recording: lines "key=value", up to the end of the record, zeros trimmed. The one that CLOSE makes is an account of calls that are in no record: account=N counts them; exempt_calls are those of exempt tasks, lost_calls the ENTRY records that were dropped, each with _ia32 for calls through a 32-bit entry.',
    fields: [{ name: 'h', type: 'struct lemona_rec' }],
    tail: { name: 'text', type: 'char', doc: 'text' },
  },
  {
    name: 'lemona_part',
    size: 48,
    doc: 'First record of a part: the header of the whole sub-buffer has these instead. All its other fields are the same.',
    fields: [
      { name: 'h', type: 'struct lemona_rec', doc: 'tid and dt are zero' },
      { name: 'length', type: 'u32' },
      { name: 'crc32c', type: 'u32' },
      { name: 'records', type: 'u32' },
      { name: 'effects', type: 'u32' },
      { name: 'seq_first', type: 'u64' },
      { name: 'seq_last', type: 'u64' },
    ],
  },
  {
    name: 'lemona_elsewhere',
    size: 24,
    doc: 'In a part: records of other categories stand here in the whole.',
    fields: [
      { name: 'h', type: 'struct lemona_rec', doc: 'tid is zero; dt: of the first of them' },
      { name: 'records', type: 'u32', doc: 'how many' },
      { name: 'bytes', type: 'u32', doc: 'their bytes' },
    ],
  },
  {
    name: 'lemona_effect',
    size: 40,
    doc: 'Common start of every effect; code: LEMONA_OP_*.',
    fields: [
      { name: 'h', type: 'struct lemona_rec' },
      { name: 'seq', type: 'u64', doc: 'global sequence number: gap-free, unique, from 1' },
      { name: 'ino', type: 'u64', doc: 'the object: inode number' },
      { name: 'gen', type: 'u32', doc: 'its generation' },
      { name: 'dev', type: 'u32', doc: 'new_encode_dev() of its superblock' },
    ],
  },
  {
    name: 'lemona_write',
    size: 56,
    doc: 'File content, copied from the locked page-cache folio.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'pos', type: 'u64', doc: 'file offset' },
      { name: 'len', type: 'u32', doc: 'bytes' },
      { name: 'flags', type: 'u32', doc: 'zero' },
    ],
    tail: { name: 'data', type: 'u8', doc: 'len bytes' },
  },
  {
    name: 'lemona_setattr',
    size: 144,
    doc: 'Attributes changed.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'valid', type: 'u32', doc: 'LEMONA_VALID_*; 0: a sample of the times only' },
      { name: 'pad', type: 'u32' },
      { name: 'attr', type: 'struct lemona_attr', doc: 'after the change' },
    ],
  },
  {
    name: 'lemona_dentry',
    size: 240,
    doc: 'A name appeared or disappeared; the object is the child inode.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'child', type: 'struct lemona_attr', doc: 'the child, after' },
      { name: 'dir', type: 'struct lemona_attr', doc: 'the directory, after' },
      { name: 'name_len', type: 'u16', doc: 'bytes of name' },
      { name: 'extra_len', type: 'u16', doc: "bytes after the name: a symbolic link's target" },
      { name: 'pad', type: 'u32' },
    ],
    tail: { name: 'name', type: 'char', doc: 'name, then the extra bytes' },
  },
  {
    name: 'lemona_rename',
    size: 432,
    doc: 'A rename; the object is the source inode.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'flags', type: 'u32', doc: 'RENAME_*' },
      { name: 'old_len', type: 'u16', doc: 'bytes of the old name' },
      { name: 'new_len', type: 'u16', doc: 'bytes of the new name' },
      { name: 'source', type: 'struct lemona_attr', doc: 'what moved, after' },
      { name: 'old_dir', type: 'struct lemona_attr', doc: 'the directory it left, after' },
      { name: 'new_dir', type: 'struct lemona_attr', doc: 'the directory it came to, after' },
      { name: 'target', type: 'struct lemona_attr', doc: 'what was replaced or exchanged, after; ino 0: nothing' },
    ],
    tail: { name: 'names', type: 'char', doc: 'old name, then new name' },
  },
  {
    name: 'lemona_fallocate',
    size: 160,
    doc: 'fallocate() succeeded; the number is drawn after the operation.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'mode', type: 'u32', doc: 'FALLOC_FL_*' },
      { name: 'pad', type: 'u32' },
      { name: 'offset', type: 'u64' },
      { name: 'len', type: 'u64' },
      { name: 'attr', type: 'struct lemona_attr', doc: 'after' },
    ],
  },
  {
    name: 'lemona_xattr',
    size: 144,
    doc: "An extended attribute or ACL was set or removed. ACLs (index 2 and 3) are in ext4's on-disk format.",
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'name_index', type: 'u16', doc: 'LEMONA_XATTR_*' },
      { name: 'name_len', type: 'u16', doc: 'bytes of name, without prefix' },
      { name: 'value_len', type: 'u32', doc: 'bytes of value; LEMONA_XATTR_REMOVED: removed' },
      { name: 'attr', type: 'struct lemona_attr', doc: 'the inode, after' },
    ],
    tail: { name: 'name', type: 'char', doc: 'name without prefix, then the value' },
  },
  {
    name: 'lemona_mount',
    size: 64,
    doc: "A filesystem was mounted or unmounted; dev says which, ino and gen are its root's.",
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'uuid', type: 'u8', count: 16, doc: 'superblock UUID' },
      { name: 'sb_flags', type: 'u32', doc: 'SB_*' },
      { name: 'type_len', type: 'u16', doc: 'bytes of type' },
      { name: 'path_len', type: 'u16', doc: 'bytes of path' },
    ],
    tail: {
      name: 'names',
      type: 'char',
      doc: 'filesystem type, then mount point',
      meaning: 'filesystem type, then source: what was mounted, as its mounter called it (UMOUNT: nothing)',
    },
  },
  {
    name: 'lemona_mark',
    size: 48,
    doc: 'An instant with a name, taken while the filesystem is frozen; the object is zero.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'label_len', type: 'u32', doc: 'bytes of label' },
      { name: 'flags', type: 'u32', doc: 'zero' },
    ],
    tail: { name: 'label', type: 'char', doc: 'label' },
  },
  {
    name: 'lemona_taint',
    size: 48,
    doc: 'Something happened that the effects do not describe: a rebuild past here is not vouched for.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'reason', type: 'u32', doc: 'LEMONA_TAINT_*' },
      { name: 'text_len', type: 'u32', doc: 'bytes of text' },
    ],
    tail: { name: 'text', type: 'char', doc: 'what it was' },
  },
  {
    name: 'lemona_start',
    size: 48,
    doc: 'The first effect, number 1; the object is zero.',
    fields: [
      { name: 'e', type: 'struct lemona_effect' },
      { name: 'text_len', type: 'u32', doc: 'bytes of text' },
      { name: 'pad', type: 'u32' },
    ],
    tail: { name: 'text', type: 'char', doc: 'kernel release' },
  },
] as const satisfies readonly StructDef[];

/** Structs that cross the ioctl border of /dev/lemona; they are part of the hash as well. */
export const IOCTL_STRUCTS = [
  {
    name: 'lemona_freeze',
    size: 160,
    doc: 'Argument of LEMONA_IOC_FREEZE.',
    fields: [
      { name: 'size', type: 'u32', doc: 'in: sizeof this struct' },
      { name: 'fd', type: 's32', doc: 'in: any file on the filesystem' },
      { name: 'flags', type: 'u32', doc: 'in: LEMONA_FREEZE_F_*' },
      { name: 'label_len', type: 'u32', doc: 'in: bytes of label' },
      { name: 'label', type: 'char', count: 128, doc: 'in: label of the MARK' },
      { name: 'seq', type: 'u64', doc: 'out: number of the MARK' },
      { name: 'real_ns', type: 'u64', doc: 'out: wall clock of the MARK' },
    ],
  },
  {
    name: 'lemona_settimes',
    size: 56,
    doc: 'Argument of LEMONA_IOC_SETTIMES.',
    fields: [
      { name: 'fd', type: 's32', doc: 'the inode; may be opened with O_PATH' },
      { name: 'mode', type: 'u32', doc: 'its permissions and LEMONA_SETTIMES_MODE; 0: they stay as they are' },
      { name: 'sec', type: 's64', count: 4, doc: 'access, modification, change, birth time: seconds' },
      { name: 'nsec', type: 'u32', count: 4, doc: 'their nanoseconds' },
    ],
  },
  {
    name: 'lemona_caps',
    size: 32,
    doc: 'Argument of LEMONA_IOC_GETCAPS.',
    fields: [
      { name: 'fd', type: 's32', doc: 'in: the inode; may be opened with O_PATH' },
      { name: 'size', type: 'u32', doc: 'out: bytes of value' },
      { name: 'value', type: 'u8', count: 24, doc: 'out: security.capability as the disk has it' },
    ],
  },
  {
    name: 'lemona_stats',
    size: 64,
    doc: 'Argument of LEMONA_IOC_STATS.',
    fields: [
      { name: 'issued', type: 'u64', doc: 'records issued' },
      { name: 'recorded', type: 'u64', doc: 'of those, recorded' },
      { name: 'dropped', type: 'u64', doc: 'of those, dropped' },
      { name: 'effects', type: 'u64', doc: 'last sequence number drawn' },
      { name: 'bytes', type: 'u64', doc: 'bytes recorded' },
      { name: 'subbufs', type: 'u64', doc: 'sub-buffers delivered' },
      { name: 'pool_bytes', type: 'u64', doc: 'memory held now' },
      { name: 'throttled', type: 'u64', doc: 'times a task was made to wait' },
    ],
  },
] as const satisfies readonly StructDef[];

export const KINDS = [
  { name: 'ENTRY', value: 1, doc: 'system call entered', struct: 'lemona_entry' },
  { name: 'EXIT', value: 2, doc: 'system call returned', struct: 'lemona_exit' },
  { name: 'SWITCH', value: 3, doc: 'scheduler switch', struct: 'lemona_switch' },
  { name: 'TASK', value: 4, doc: 'task born or already there', struct: 'lemona_task' },
  { name: 'EXEC', value: 5, doc: 'program executed', struct: 'lemona_exec' },
  { name: 'TASK_EXIT', value: 6, doc: 'task ended', struct: 'lemona_task_exit' },
  { name: 'CRED', value: 7, doc: 'credentials changed', struct: 'lemona_cred' },
  { name: 'FAULT', value: 8, doc: 'page fault', struct: 'lemona_fault' },
  { name: 'EFFECT', value: 9, doc: 'something changed on a filesystem', struct: 'lemona_effect' },
  { name: 'LOSS', value: 10, doc: 'records were lost', struct: 'lemona_loss' },
  { name: 'INFO', value: 11, doc: 'facts about the recording', struct: 'lemona_info' },
  { name: 'LOST', value: 12, doc: 'what lost effects may have touched', struct: 'lemona_lost' },
  { name: 'URING', value: 13, doc: 'request of io_uring', struct: 'lemona_uring' },
  { name: 'PART', value: 14, doc: 'this sub-buffer is a part of one', struct: 'lemona_part' },
  { name: 'ELSEWHERE', value: 15, doc: 'records that another part has', struct: 'lemona_elsewhere' },
] as const satisfies readonly NumberDef[];

export const OPCODES = [
  { name: 'WRITE', value: 1, doc: 'content written', struct: 'lemona_write' },
  {
    name: 'PAGE',
    value: 2,
    doc: 'content of a page stored to through a mapping, clipped at the file size',
    struct: 'lemona_write',
  },
  { name: 'SETATTR', value: 3, doc: 'attributes changed', struct: 'lemona_setattr' },
  { name: 'CREATE', value: 4, doc: 'regular file created', struct: 'lemona_dentry' },
  { name: 'MKNOD', value: 5, doc: 'device, FIFO or socket created', struct: 'lemona_dentry' },
  { name: 'MKDIR', value: 6, doc: 'directory created', struct: 'lemona_dentry' },
  { name: 'SYMLINK', value: 7, doc: 'symbolic link created', struct: 'lemona_dentry' },
  { name: 'TMPFILE', value: 8, doc: 'nameless file created', struct: 'lemona_dentry' },
  { name: 'LINK', value: 9, doc: 'name added', struct: 'lemona_dentry' },
  { name: 'UNLINK', value: 10, doc: 'name removed', struct: 'lemona_dentry' },
  { name: 'RMDIR', value: 11, doc: 'directory removed', struct: 'lemona_dentry' },
  { name: 'RENAME', value: 12, doc: 'name moved or exchanged', struct: 'lemona_rename' },
  { name: 'FALLOCATE', value: 13, doc: 'space allocated, punched, moved or zeroed', struct: 'lemona_fallocate' },
  { name: 'XATTR', value: 14, doc: 'extended attribute or ACL', struct: 'lemona_xattr' },
  { name: 'GONE', value: 15, doc: 'inode without names evicted', struct: 'lemona_effect' },
  { name: 'MOUNT', value: 16, doc: 'filesystem mounted', struct: 'lemona_mount' },
  { name: 'UMOUNT', value: 17, doc: 'filesystem unmounted', struct: 'lemona_mount' },
  { name: 'MARK', value: 18, doc: 'a named instant', struct: 'lemona_mark' },
  { name: 'NOP', value: 19, doc: 'a number that was drawn and not used', struct: 'lemona_effect' },
  { name: 'TAINT', value: 20, doc: 'something the effects do not describe', struct: 'lemona_taint' },
  { name: 'START', value: 21, doc: 'first effect of a recording', struct: 'lemona_start' },
] as const satisfies readonly NumberDef[];

export const TLVS = [
  { name: 'PATH', value: 1, doc: 'path, unterminated' },
  { name: 'STRV', value: 2, doc: 'string vector, each string ended by a zero byte' },
  { name: 'BUF_IN', value: 3, doc: 'bytes the call reads' },
  { name: 'BUF_OUT', value: 4, doc: 'bytes the call wrote' },
  { name: 'SOCKADDR', value: 5, doc: 'struct sockaddr' },
  { name: 'STRUCT', value: 6, doc: 'fixed-size structure' },
  { name: 'IOVEC', value: 7, doc: 'gathered bytes of an iovec' },
  { name: 'CONTROL', value: 8, doc: 'ancillary data of a msghdr' },
] as const satisfies readonly NumberDef[];

/** Flag and code macros: name without LEMONA_. Grouped by the field they stand in. */
export const FLAG_GROUPS = [
  {
    doc: 'flags of a sub-buffer: the category of a part',
    flags: [
      { name: 'CATEGORY_NETWORK', value: 1, doc: 'calls and requests about sockets' },
      { name: 'CATEGORY_DISK', value: 2, doc: 'effects, and all other calls and requests' },
    ],
  },
  {
    doc: 'flags of ENTRY and EXIT: the ABI in bits 0 and 1',
    flags: [
      { name: 'F_ABI_MASK', value: 3, doc: 'mask of the ABI' },
      { name: 'F_ABI_64', value: 0, doc: 'x86-64' },
      { name: 'F_ABI_IA32', value: 1, doc: 'ia32' },
      { name: 'F_ABI_X32', value: 2, doc: 'x32' },
      { name: 'F_DENIED', value: 8, doc: 'refused by ptrace, seccomp or audit before it ran' },
      { name: 'F_CUT', value: 16, doc: 'memory that should have been captured found no room' },
      { name: 'F_SOCKET', value: 32, doc: 'about a socket; only where the record is split by category' },
      { name: 'F_NARGS_SHIFT', value: 8, doc: 'ENTRY: bits 8 to 10 count the arguments' },
      { name: 'F_NARGS_MASK', value: 0x700, doc: 'mask of that count' },
    ],
  },
  {
    doc: 'flags of a TLV',
    flags: [
      { name: 'TLV_F_TRUNCATED', value: 1, doc: 'only the start was captured' },
      { name: 'TLV_F_FAULT', value: 2, doc: 'user memory could not be read' },
      { name: 'TLV_F_UNSTABLE', value: 4, doc: 'copied from user memory: another thread may have changed it' },
    ],
  },
  {
    doc: 'code and task_flags of TASK',
    flags: [
      { name: 'TASK_FORK', value: 0, doc: 'born now' },
      { name: 'TASK_PRESENT', value: 1, doc: 'was already there' },
      { name: 'TASK_F_KTHREAD', value: 1, doc: 'kernel thread' },
      { name: 'TASK_F_THREAD', value: 2, doc: 'not the leader of its process' },
    ],
  },
  {
    doc: 'mode of lemona_settimes',
    flags: [{ name: 'SETTIMES_MODE', value: 0x10000, doc: 'the permissions are set, whatever an ACL says' }],
  },
  {
    doc: 'code of LOSS',
    flags: [
      { name: 'LOSS_NO_BUFFER', value: 1, doc: 'no free sub-buffer' },
      { name: 'LOSS_ALLOC', value: 2, doc: 'out of memory' },
      { name: 'LOSS_LOSSY', value: 3, doc: 'lossy mode' },
    ],
  },
  {
    doc: 'what of LOST',
    flags: [
      { name: 'LOST_CONTENT', value: 1, doc: 'the bytes from pos on, and the size if they reach beyond it' },
      { name: 'LOST_TIMES', value: 2, doc: 'the four times' },
      { name: 'LOST_ATTR', value: 4, doc: 'mode, owner, flags, project, size' },
      { name: 'LOST_XATTR', value: 8, doc: 'extended attributes and ACLs' },
      { name: 'LOST_ENTRIES', value: 16, doc: 'of a directory: the names in it' },
      { name: 'LOST_PLACE', value: 32, doc: 'the names that lead to the inode, and their count' },
      { name: 'LOST_ALL', value: 63, doc: 'all of it' },
    ],
  },
  {
    doc: 'flags of URING',
    flags: [
      { name: 'URING_SUBMIT', value: 0, doc: 'the kernel takes the request' },
      { name: 'URING_ISSUE', value: 1, doc: 'the current task begins to carry it out, perhaps not for the first time' },
      { name: 'URING_COMPLETE', value: 2, doc: 'it ended: its result is posted, unless nobody wants to know' },
    ],
  },
  {
    doc: 'valid of SETATTR',
    flags: [
      { name: 'VALID_MODE', value: 1, doc: 'mode' },
      { name: 'VALID_UID', value: 2, doc: 'owner' },
      { name: 'VALID_GID', value: 4, doc: 'group' },
      { name: 'VALID_SIZE', value: 8, doc: 'size' },
      { name: 'VALID_ATIME', value: 16, doc: 'access time' },
      { name: 'VALID_MTIME', value: 32, doc: 'modification time' },
      { name: 'VALID_CTIME', value: 64, doc: 'change time' },
      { name: 'VALID_FSFLAGS', value: 0x10000, doc: 'FS_*_FL flags or project id' },
    ],
  },
  {
    doc: "name_index of XATTR: ext4's own numbers",
    flags: [
      { name: 'XATTR_USER', value: 1, doc: 'user.' },
      { name: 'XATTR_ACL_ACCESS', value: 2, doc: 'system.posix_acl_access' },
      { name: 'XATTR_ACL_DEFAULT', value: 3, doc: 'system.posix_acl_default' },
      { name: 'XATTR_TRUSTED', value: 4, doc: 'trusted.' },
      { name: 'XATTR_SECURITY', value: 6, doc: 'security.' },
      { name: 'XATTR_SYSTEM', value: 7, doc: 'system.' },
      { name: 'XATTR_GNU', value: 10, doc: 'gnu.' },
    ],
  },
  {
    doc: 'reason of TAINT',
    flags: [
      { name: 'TAINT_RAW_WRITE', value: 1, doc: 'write to a raw block device' },
      { name: 'TAINT_IOCTL', value: 2, doc: 'ioctl that is not recorded' },
      { name: 'TAINT_WHITEOUT', value: 3, doc: 'rename left a whiteout' },
      { name: 'TAINT_WRITE_ERROR', value: 4, doc: 'a write failed half-way' },
      { name: 'TAINT_FS_ERROR', value: 5, doc: 'the file system found an error in itself' },
      { name: 'TAINT_MODULE', value: 6, doc: 'a module was loaded into the kernel; about no file system: dev is 0' },
      { name: 'TAINT_REGISTERS', value: 7, doc: 'a program got at registers of a PCI device; likewise' },
    ],
  },
  {
    doc: 'flags of LEMONA_IOC_FREEZE',
    flags: [{ name: 'FREEZE_F_ENABLE', value: 1, doc: 'enable recording while frozen' }],
  },
] as const satisfies readonly { readonly doc: string; readonly flags: readonly NumberDef[] }[];

export interface IoctlDef {
  readonly name: string;
  readonly nr: number;
  readonly dir: '_IO' | '_IOR' | '_IOW' | '_IOWR';
  readonly struct?: string;
  readonly doc: string;
}

/** ioctls of /dev/lemona; the type letter is 'L'. */
export const IOCTLS = [
  { name: 'EXEMPT', nr: 1, dir: '_IO', doc: 'this task and its future children leave the forensic plane' },
  {
    name: 'FREEZE',
    nr: 2,
    dir: '_IOWR',
    struct: 'lemona_freeze',
    doc: 'freeze a filesystem, emit a MARK; closing the file thaws',
  },
  { name: 'THAW', nr: 3, dir: '_IO', doc: 'thaw it' },
  {
    name: 'CLOSE',
    nr: 4,
    dir: '_IO',
    doc: 'end the record: wait until the consumer has everything, an account of calls too; servers get no more, and have sealed it',
  },
  {
    name: 'SETTIMES',
    nr: 5,
    dir: '_IOW',
    struct: 'lemona_settimes',
    doc: 'set the four times of an inode outright, and its permissions; not while it records',
  },
  { name: 'STATS', nr: 6, dir: '_IOR', struct: 'lemona_stats', doc: 'counters' },
  { name: 'DRAIN', nr: 7, dir: '_IO', doc: 'wait until the consumer has everything recorded so far' },
  {
    name: 'GETCAPS',
    nr: 8,
    dir: '_IOWR',
    struct: 'lemona_caps',
    doc: "read a file's capabilities, which getxattr() converts; ENODATA: it has none",
  },
] as const satisfies readonly IoctlDef[];

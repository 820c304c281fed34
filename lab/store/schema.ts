// SPDX-License-Identifier: MIT
/**
 * The database's tables as data: both dialects' SQL and docs/schema.md are made from them.
 *
 * Rules that hold for all of them:
 *  1. A time is `…_ns`: whole nanoseconds, since 1970 unless its text says otherwise, exact in 64 bits. A reader that
 *     keeps numbers as doubles must cast them to text.
 *  2. `id` counts from 1 in the order of the record, over all traces of a database.
 *  3. Bytes of the guest are text as `displayBytes` shows them, each one once, in `texts`: other tables point there.
 *  4. A number that has 64 bits without a sign in the record is the signed one with the same bits here.
 */
import { numbers } from '../abi/layout.js';
import { LabError } from '../util/errors.js';

export interface ColumnDef {
  readonly name: string;
  /** A `time` is an `int` whose value a batch gives as an offset. */
  readonly type: 'int' | 'text' | 'time';
  readonly doc: string;
  /** Table whose id it is. */
  readonly refs?: string;
  readonly isNullable?: true;
}

export interface IndexDef {
  readonly columns: readonly string[];
  readonly isUnique?: true;
  /** Rows it holds; all unless told. */
  readonly where?: string;
  /** Loading needs it: it is there from the start. The others are made when the first load is done. */
  readonly isWorking?: true;
}

export interface TableDef {
  readonly name: string;
  readonly doc: string;
  /** The first one is the primary key. */
  readonly columns: readonly ColumnDef[];
  readonly indexes: readonly IndexDef[];
}

/** Effects on regular files that have the setuid or setgid bit. The planner knows the index by these very words. */
export const IS_SETUID = 'mode & 61440 = 32768 AND mode & 3072 <> 0';

/** What a record of a call says about itself. */
export const EVENT_FLAGS = [
  { value: 1, name: 'denied', doc: 'refused before it ran, the result is what was said instead' },
  { value: 2, name: 'cut', doc: 'memory that should have been captured found no room' },
  { value: 4, name: 'truncated', doc: 'of a text only the start was captured' },
  { value: 8, name: 'fault', doc: 'memory of a text could not be read' },
] as const;
/** `EVENT_FLAG.denied` */
export const EVENT_FLAG = numbers(EVENT_FLAGS);

const ID: ColumnDef = { name: 'id', type: 'int', doc: 'number' };

function int(name: string, doc: string): ColumnDef {
  return { name, type: 'int', doc };
}

/** May be NULL: unknown, or does not apply. */
function some(name: string, doc: string): ColumnDef {
  return { name, type: 'int', doc, isNullable: true };
}

function time(name: string, doc: string): ColumnDef {
  return { name, type: 'time', doc };
}

function someTime(name: string, doc: string): ColumnDef {
  return { name, type: 'time', doc, isNullable: true };
}

function ref(name: string, refs: string, doc: string): ColumnDef {
  return { name, type: 'int', doc, refs };
}

function someRef(name: string, refs: string, doc: string): ColumnDef {
  return { name, type: 'int', doc, refs, isNullable: true };
}

function text(name: string, doc: string): ColumnDef {
  return { name, type: 'text', doc };
}

export const TABLES = [
  {
    name: 'traces',
    doc: 'One boot of one machine: a run, or a boot of a machine that a logging server keeps.',
    columns: [
      ID,
      text('name', 'of the run, or MACHINE/BOOT'),
      { name: 'boot_id', type: 'text', doc: 'drawn by the guest at random, hexadecimal', isNullable: true },
      int('mono_base', "monotonic clock of the first sub-buffer: the inserter's zero"),
      some(
        'root_dev',
        "device of the file system that is /, once it was mounted: the image's, or, without an image, the first",
      ),
      text('held', "the inserter's: parts of loaded segments whose rows wait for their turn in time, as JSON"),
    ],
    indexes: [{ columns: ['name'], isUnique: true, isWorking: true }],
  },
  {
    name: 'segments',
    doc: 'A segment file that was loaded. Its row and its rows elsewhere came in one transaction.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      int('number', 'as in the name of the file'),
      int('is_sealed', '1, or 0: the last one of a run that was cut off'),
      int('bytes', 'of good sub-buffers'),
      int('subbufs', 'good sub-buffers'),
      int('records', 'records in them'),
      someTime('first_ns', "earliest time of its sub-buffers' beginnings"),
      someTime('last_ns', "latest time of its sub-buffers' beginnings"),
    ],
    indexes: [{ columns: ['trace', 'number'], isUnique: true, isWorking: true }],
  },
  {
    name: 'problems',
    doc: 'What is damaged, missing or against the rules in a segment file.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      int('segment', 'number of the segment'),
      int('at_byte', 'offset in its file'),
      text('kind', 'torn, corrupt, foreign, …'),
      text('detail', 'what was seen and what was wanted'),
    ],
    indexes: [],
  },
  {
    name: 'kinds',
    doc: 'What an event or an effect can be.',
    columns: [
      ID,
      text('class', 'ENTRY for a system call, EFFECT, SWITCH, EXEC, …'),
      text('name', 'openat, WRITE, …: of the system call, the effect or the request; else that of the class'),
    ],
    indexes: [{ columns: ['name'] }],
  },
  {
    name: 'texts',
    doc: 'Every path, argument and address once. The table `search` is its full-text index.',
    columns: [ID, text('text', 'harmless for a terminal; odd bytes are \\xNN')],
    indexes: [{ columns: ['text'], isUnique: true, isWorking: true }],
  },
  {
    name: 'processes',
    doc: 'Processes and their tree.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      int('pid', 'process id in the guest'),
      someRef('parent', 'processes', 'who forked it; of one that was there before the record, its parent then'),
      someTime('born_ns', 'NULL: it was there before the record, or its birth was lost'),
      someTime('ended_ns', 'NULL: it was there at the end'),
      some('status', 'wait status of its end'),
      int('is_kernel', '1: a kernel thread'),
      text('name', 'task name at its birth, or when the record began; a program that it executes gives it another'),
      someRef(
        'exec',
        'execs',
        'the last program that it executed; before there is one, that which its forker ran then',
      ),
      some('uid', 'owner, the last one'),
      some('euid', 'effective owner, the last one'),
    ],
    indexes: [{ columns: ['pid'] }, { columns: ['parent'] }],
  },
  {
    name: 'threads',
    doc: 'Threads of the processes; each process has at least one.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      ref('process', 'processes', 'of which process'),
      int('tid', 'thread id in the guest'),
      someTime('born_ns', 'NULL: it was there before the record, or its birth was lost'),
      someTime('ended_ns', 'NULL: it was there at the end'),
      some('euid', 'effective owner, the last one'),
    ],
    indexes: [{ columns: ['process'] }, { columns: ['trace', 'tid'], isWorking: true }],
  },
  {
    name: 'events',
    doc: 'Every record that is no effect, in order of time. A system call is one event: what it returned is in the row of its entry.',
    columns: [
      ID,
      time('time_ns', 'when; of a system call, when it was entered'),
      some('duration_ns', 'of a system call, by the monotonic clock; NULL: its entry or its exit is not in the record'),
      ref('kind', 'kinds', 'what'),
      ref('process', 'processes', 'who'),
      int('tid', 'thread id'),
      int('cpu', 'on which CPU'),
      someRef('exec', 'execs', 'program that the process ran then; NULL: one that the record saw nobody execute'),
      some('euid', 'effective owner of the thread then; NULL: not known'),
      some('result', 'of a system call or a request; negative: an error number'),
      int('flags', `sum of ${EVENT_FLAGS.map(({ value, name, doc }) => `${value} ${name}: ${doc}`).join('; ')}`),
      someRef(
        'text',
        'texts',
        'paths, arguments and addresses that it led to, separated by blanks; … where one goes on that was not captured',
      ),
      some('a0', 'first argument, or what the class says: see below'),
      some('a1', ''),
      some('a2', ''),
      some('a3', ''),
      some('a4', ''),
      some('a5', ''),
    ],
    indexes: [
      { columns: ['process', 'id'] },
      { columns: ['text', 'id'], where: 'text IS NOT NULL' },
      { columns: ['time_ns'] },
    ],
  },
  {
    name: 'execs',
    doc: 'Programs that were executed.',
    columns: [
      ID,
      ref('event', 'events', 'its event'),
      time('time_ns', 'when'),
      ref('process', 'processes', 'who'),
      ref('exe', 'texts', 'path as the program loader saw it'),
      someRef('args', 'texts', 'arguments, separated by blanks'),
      text('name', 'task name that it gave'),
      someRef('file', 'files', 'the executable'),
      int('uid', 'owner'),
      int('euid', 'effective owner: another one for a setuid program'),
    ],
    indexes: [{ columns: ['process', 'id'] }, { columns: ['exe'] }, { columns: ['time_ns'] }],
  },
  {
    name: 'identities',
    doc: "Changes of a process's owner: logins, su, setuid programs.",
    columns: [
      ID,
      ref('event', 'events', 'its event'),
      time('time_ns', 'when'),
      ref('process', 'processes', 'who'),
      some('old_uid', 'owner before; NULL: not known'),
      some('old_euid', 'effective owner before'),
      int('uid', 'owner after'),
      int('euid', 'effective owner after'),
    ],
    indexes: [{ columns: ['process', 'id'] }, { columns: ['time_ns'] }],
  },
  {
    name: 'sockets',
    doc: 'Addresses that system calls on sockets named or were told.',
    columns: [
      ID,
      ref('event', 'events', 'the call'),
      time('time_ns', 'when'),
      ref('process', 'processes', 'who'),
      int('family', 'AF_*: 1 unix, 2 IPv4, 10 IPv6'),
      ref('address', 'texts', 'as 127.0.0.1:80'),
    ],
    indexes: [{ columns: ['time_ns'] }, { columns: ['address'] }, { columns: ['process'] }],
  },
  {
    name: 'files',
    doc: 'Inodes. Numbers are used again; with the generation they are not.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      int('dev', 'device, as new_encode_dev() gives it'),
      int('ino', 'inode number'),
      int('gen', 'generation'),
    ],
    indexes: [{ columns: ['trace', 'ino', 'gen', 'dev'], isUnique: true, isWorking: true }],
  },
  {
    name: 'paths',
    doc: 'Names of files over time. When a directory is renamed, all below it get new rows.',
    columns: [
      ID,
      ref('file', 'files', 'whose'),
      someRef('parent', 'files', 'directory; NULL: the name is from the checkpoint and the directory was not touched'),
      ref(
        'path',
        'texts',
        'the whole path; #131/x below a directory whose own name is not known; [dev 7:0]/x on another file system than the root one',
      ),
      int('from_seq', 'effect that gave the name; 0: it was there before'),
      some('until_seq', 'effect that took it away; NULL: none did'),
    ],
    indexes: [
      { columns: ['file', 'id'], isWorking: true },
      { columns: ['path'], isWorking: true },
      { columns: ['parent'], where: 'until_seq IS NULL', isWorking: true },
    ],
  },
  {
    name: 'effects',
    doc: 'What really happened to files, in the order of their numbers.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      int('seq', 'sequence number: gap-free within a trace'),
      time('time_ns', 'when'),
      ref('kind', 'kinds', 'what'),
      ref('process', 'processes', 'who'),
      int('tid', 'thread id'),
      int('cpu', 'on which CPU'),
      someRef('exec', 'execs', 'program that the process ran then; NULL: one that the record saw nobody execute'),
      some('euid', 'effective owner of the thread then; NULL: not known'),
      someRef('file', 'files', 'the inode'),
      someRef(
        'path',
        'texts',
        'its path then, or the last one it had; MOUNT: what was mounted, as its mounter called it; a label',
      ),
      someRef(
        'other',
        'texts',
        "RENAME: the path before; SYMLINK: the target; XATTR: the attribute's name; MOUNT: the type",
      ),
      some('pos', 'file offset'),
      some('len', 'bytes; of a rename, size of what had the new name'),
      some('valid', 'SETATTR: what was set, sum of LEMONA_VALID_*; 0: a sample of the times'),
      some('mode', 'type and permissions after'),
      some('uid', 'owner after'),
      some('gid', 'group after'),
      some('size', 'bytes of the file after'),
      some('nlink', 'names after; of a rename, of what had the new name, if anything had'),
    ],
    indexes: [
      { columns: ['trace', 'seq'], isUnique: true },
      { columns: ['file', 'id'] },
      { columns: ['path', 'id'], where: 'path IS NOT NULL' },
      { columns: ['process', 'id'] },
      { columns: ['kind', 'id'] },
      { columns: ['mode'], where: IS_SETUID },
    ],
  },
  {
    name: 'users',
    doc: 'User ids that were seen.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      int('uid', 'user id'),
      {
        name: 'name',
        type: 'text',
        doc: 'from /etc/passwd, as it was last written from its beginning; NULL: nothing said it',
        isNullable: true,
      },
      { name: 'source', type: 'text', doc: 'image or record: where the name is from', isNullable: true },
    ],
    indexes: [{ columns: ['trace', 'uid'], isUnique: true, isWorking: true }],
  },
  {
    name: 'losses',
    doc: 'Records that were lost, as the guest declared them: LOSS says how many, LOST what lost effects were about.',
    columns: [
      ID,
      ref('trace', 'traces', 'whose'),
      time('time_ns', 'when'),
      text('class', 'LOSS or LOST'),
      int('cpu', 'of which CPU'),
      some('reason', 'LOSS: 1 no buffer, 2 no memory, 3 lossy mode'),
      int('seq_first', 'first lost effect; 0: none'),
      int('seq_last', 'last lost effect'),
      int('effects', 'effects lost'),
      some('records', 'LOSS: records lost, effects included'),
      someRef('file', 'files', 'LOST: the inode; NULL: any'),
      some('what', 'LOST: sum of 1 content, 2 times, 4 attributes, 8 extended attributes, 16 entries, 32 names'),
      some('pos', 'LOST: first byte'),
      some('len', 'LOST: bytes; -1: to the end'),
    ],
    indexes: [],
  },
  {
    name: 'open_calls',
    doc: "The inserter's: system calls that have not returned yet.",
    columns: [
      { name: 'event', type: 'int', doc: 'its event', refs: 'events' },
      ref('trace', 'traces', 'whose'),
      int('tid', 'thread id'),
      int('entered_mono', 'monotonic clock of the guest'),
      someRef('args', 'texts', 'of execve: its arguments'),
      some('room', 'bytes that the caller has for an address, if it said so'),
    ],
    indexes: [],
  },
] as const satisfies readonly TableDef[];

export type TableName = (typeof TABLES)[number]['name'];

const BY_NAME: ReadonlyMap<string, TableDef> = new Map(TABLES.map((table) => [table.name, table]));

export function tableOf(name: TableName): TableDef {
  const table = BY_NAME.get(name);
  if (table === undefined) throw new Error(`schema.ts: there is no table ${name}`);
  return table;
}

/** The index of a table that has these columns. */
export function indexOf(name: TableName, columns: readonly string[]): IndexDef {
  const index = tableOf(name).indexes.find((one) => one.columns.join() === columns.join());
  if (index === undefined) throw new Error(`schema.ts: ${name} has no index of ${columns.join(', ')}`);
  return index;
}

/** What `a0` to `a5` of an event are, by class. */
export const EVENT_ARGS: readonly (readonly [cls: string, meaning: string])[] = [
  ['ENTRY', 'the arguments of the call'],
  ['SWITCH', 'a0 the thread that came, a1 the state of the one that left'],
  ['TASK', 'a0 the new thread, a1 its process, a2 the parent process, a3 1: it was there before'],
  ['EXEC', 'a0 inode, a1 generation, a2 device of the executable'],
  ['TASK_EXIT', 'a0 wait status'],
  ['CRED', 'uid, gid, euid, egid, suid, sgid'],
  ['FAULT', 'a0 page index, a1 address, a2 inode, a3 generation, a4 device'],
  ['LOSS', 'a0 reason, a1 records lost'],
  ['URING', 'a0 phase (0 submit, 1 issue, 2 complete), a1 ring, a2 user data, a3 request'],
];

/** The version of all this: a database of another one is refused. Change it with any change above. */
export const SCHEMA_VERSION = 3;

/** @throws LabError LAB_RUN_STATE for a database of another version */
export function checkVersion(label: string, seen: number): void {
  if (seen === SCHEMA_VERSION) return;
  throw new LabError('LAB_RUN_STATE', `${label}: its schema is version ${seen}, wanted ${SCHEMA_VERSION}`, {
    next: 'delete it and make it again, or choose another one: segments are the truth',
  });
}

// SPDX-License-Identifier: MIT
/**
 * The one table of verbs and flags: the parser, `help` and docs/cli.md are all
 * made from it. A verb's code is `verbs/<module>.ts`, loaded only when asked for.
 */
import { KNOWN_OPS } from '../abi/layout.js';
import { TRACEABLE } from '../bench/configs.js';
import { LANES } from '../bench/report-data.js';
import { RIVAL_NAMES } from '../bench/rivals.js';
import { CONFIG_NAMES, DEFAULT_MEMORY_MIB, DEFAULT_SMP } from '../run/configs.js';
import { RECORD_KINDS } from '../trace/record.js';

export type FlagKind = 'bool' | 'string' | 'int' | 'seconds' | 'list';

export interface FlagSpec {
  /** Without the dashes. */
  readonly name: string;
  readonly kind: FlagKind;
  /** Placeholder of the value in help; every kind but `bool` has one. */
  readonly value?: string;
  readonly help: string;
  readonly required?: true;
  /** All values there are; of a `list` the verb checks them, each in its own spelling. */
  readonly choices?: readonly string[];
}

export interface ArgSpec {
  readonly name: string;
  readonly help: string;
  readonly optional?: true;
  readonly variadic?: true;
  readonly choices?: readonly string[];
}

export interface VerbSpec {
  /** One word, or two as in `build kernel`. */
  readonly name: string;
  readonly module: string;
  readonly summary: string;
  readonly args: readonly ArgSpec[];
  readonly flags: readonly FlagSpec[];
  /** Everything after the first operand belongs to the guest's command. */
  readonly passThrough?: true;
  /** It works on evidence, and is noted in the custody log of the run that its first operand or --run names. */
  readonly custody?: 'operand' | 'flag';
}

/** The exit statuses every verb keeps to; `record` alone ends with its command's status. */
export const EXITS = [
  [0, 'success'],
  [1, 'a difference or a failed check was found'],
  [2, 'usage: an unknown verb, flag, run, configuration, image or instant'],
  [3, 'the environment lacks something'],
  [4, 'a bug of this program'],
  [130, 'interrupted (Ctrl-C)'],
] as const;

/** The instants `--at` takes. */
export const INSTANTS = [
  ['start', 'the checkpoint the run began with'],
  ['end', 'after the last recorded effect'],
  ['mark:LABEL', 'where the guest ran `lemona-mark LABEL`'],
  ['seq:N', 'after the effect number N'],
  ['2026-01-31T12:00:00.5Z', 'an ISO 8601 time: after the last effect that is not later'],
  ['+12.5s', 'seconds since the start of the record'],
] as const;

export const KERNEL_FLAVOURS = ['n', 'm', 'y', 'debug', 'debug-m', 'traceable', 'replay'] as const;
export const IMAGES = ['tiny', 'debian', 'suite', 'bench', 'rivals'] as const;
/** The files of lab/bench/workloads/. */
export const WORKLOADS = ['apache', 'apache-host', 'kernel-build', 'micro', 'programs'] as const;
export const TEST_GROUPS = ['unit', 'golden', 'boot', 'fuzz', 'long'] as const;

const RUN: ArgSpec = { name: 'run', help: 'name of a run, or the path of its folder (with a / in it)' };
const POINT: ArgSpec = { name: 'dir', help: 'folder of the storage point' };
const RUNS: FlagSpec = {
  name: 'runs',
  kind: 'string',
  value: 'DIR',
  help: 'folder that holds the runs (default: runs)',
};
const JSON_FLAG: FlagSpec = { name: 'json', kind: 'bool', help: 'print one JSON object per line on stdout' };
const AT: FlagSpec = { name: 'at', kind: 'string', value: 'INSTANT', help: 'the instant (default: end)' };

const DB: FlagSpec = {
  name: 'db',
  kind: 'string',
  value: 'DB',
  help: 'the database: a file, or postgres://… (default: index.db in the folder of the run)',
};

const GO_ON: FlagSpec = {
  name: 'go-on',
  kind: 'bool',
  help: 'count results that differ from the record instead of stopping',
};
const STRICT: FlagSpec = { name: 'strict', kind: 'bool', help: 'compare names and attributes after every operation' };

/** Flags of every verb. */
export const COMMON_FLAGS: readonly FlagSpec[] = [
  { name: 'quiet', kind: 'bool', help: 'no progress and no notes on stderr' },
  { name: 'verbose', kind: 'bool', help: 'more notes on stderr, and stacks under errors' },
];

export const VERBS: readonly VerbSpec[] = [
  {
    name: 'demo',
    module: 'demo',
    summary: 'record honest work and an intrusion, destroy the disk, rebuild it, prove it, and report',
    args: [],
    flags: [
      { name: 'keep', kind: 'bool', help: 'keep the run and the rebuilt disk' },
      { name: 'run', kind: 'string', value: 'NAME', help: 'name of the run (default: demo)' },
      { name: 'force', kind: 'bool', help: 'replace a kept run of that name' },
      { name: 'smp', kind: 'int', value: 'N', help: 'virtual CPUs of the guest (default: 2)' },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'doctor',
    module: 'doctor',
    summary: 'say what is here, what is missing, and which accelerator was chosen and why',
    args: [],
    flags: [JSON_FLAG],
  },
  {
    name: 'build kernel',
    module: 'build-kernel',
    summary: 'build the guest kernel into the cache',
    args: [
      { name: 'flavour', help: 'which kernel (default: y)', optional: true, choices: [...KERNEL_FLAVOURS, 'vanilla'] },
    ],
    flags: [JSON_FLAG],
  },
  {
    name: 'build image',
    module: 'build-image',
    summary: "build a guest's root file system into the cache",
    args: [{ name: 'image', help: 'which image (default: debian)', optional: true, choices: IMAGES }],
    flags: [JSON_FLAG],
  },
  {
    name: 'record',
    module: 'record',
    summary: 'boot a traced guest, run CMD in it as root, and record everything; exits with its status',
    args: [{ name: 'cmd', help: 'the command and its arguments', variadic: true }],
    flags: [
      { name: 'run', kind: 'string', value: 'NAME', help: 'name of the new run', required: true },
      {
        name: 'config',
        kind: 'string',
        value: 'C',
        help: 'how the driver is built and where its record goes (default: static-relay)',
        choices: CONFIG_NAMES,
      },
      {
        name: 'image',
        kind: 'string',
        value: 'I',
        help: 'which image (default: debian)',
        choices: IMAGES,
      },
      { name: 'smp', kind: 'int', value: 'N', help: `virtual CPUs (default: ${DEFAULT_SMP})` },
      {
        name: 'memory',
        kind: 'int',
        value: 'MIB',
        help: `memory in MiB (default: ${DEFAULT_MEMORY_MIB})`,
      },
      { name: 'copy-in', kind: 'list', value: 'SRC:DST', help: 'copy a host file or folder into the guest first' },
      {
        name: 'forward',
        kind: 'list',
        value: 'HOST:GUEST',
        help: "let a TCP port of the host's loopback lead to one of the guest",
      },
      { name: 'qemu-arg', kind: 'list', value: 'ARG', help: 'an option passed straight to QEMU' },
      { name: 'kernel-arg', kind: 'list', value: 'ARG', help: 'a word added to the kernel command line' },
      { name: 'timeout', kind: 'seconds', value: 'S', help: 'end the command after so many seconds, with status 124' },
      {
        name: 'debug',
        kind: 'bool',
        help: 'boot a debug flavour (KASAN, lockdep, kmemleak); 1 if it reports anything',
      },
      {
        name: 'witness',
        kind: 'bool',
        help: "count system calls in QEMU's emulator and compare with the record; 1 if it does not come out",
      },
      { name: 'force', kind: 'bool', help: 'replace a run of that name' },
      JSON_FLAG,
      RUNS,
    ],
    passThrough: true,
    custody: 'flag',
  },
  {
    name: 'truth',
    module: 'truth',
    summary: "export what the guest's disk really held at a mark",
    custody: 'operand',
    args: [RUN],
    flags: [
      { name: 'at', kind: 'string', value: 'INSTANT', help: 'mark:LABEL or end', required: true },
      { name: 'output', kind: 'string', value: 'F.raw', help: 'the file to write', required: true },
      RUNS,
    ],
  },
  {
    name: 'reconstruct',
    module: 'reconstruct',
    summary: 'rebuild the disk of a run at an instant from its checkpoint and its record',
    custody: 'operand',
    args: [RUN],
    flags: [
      AT,
      { name: 'output', kind: 'string', value: 'F', help: 'the image to write', required: true },
      GO_ON,
      STRICT,
      {
        name: 'format',
        kind: 'string',
        value: 'FMT',
        help: 'format of the image (default: raw)',
        choices: ['raw', 'qcow2'],
      },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'step',
    module: 'step',
    summary:
      'go through a run back and forth: goto INSTANT, next [N], prev [N], export FILE, where, quit on stdin; ' +
      '1 if an exported image cannot be vouched for',
    custody: 'operand',
    args: [RUN],
    flags: [JSON_FLAG, RUNS],
  },
  {
    name: 'keyframes',
    module: 'keyframes',
    summary: 'make all keyframes of a run, so that `step` reaches every instant at once; it makes them on its way too',
    custody: 'operand',
    args: [RUN],
    flags: [{ name: 'delete', kind: 'bool', help: 'delete them instead' }, JSON_FLAG, RUNS],
  },
  {
    name: 'verify',
    module: 'verify',
    summary: 'rebuild, compare with the truth, and print every difference',
    custody: 'operand',
    args: [RUN],
    flags: [
      { name: 'at', kind: 'string', value: 'INSTANT', help: 'mark:LABEL or end (default: end)' },
      { name: 'all-marks', kind: 'bool', help: 'at every mark of the run, and at its end' },
      STRICT,
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'events',
    module: 'events',
    summary: 'print the records of a run; 1 if any of it is damaged or gone',
    args: [RUN],
    flags: [
      { name: 'kind', kind: 'list', value: 'KIND', help: 'only this kind of record', choices: RECORD_KINDS },
      { name: 'op', kind: 'list', value: 'OP', help: 'only this kind of effect', choices: KNOWN_OPS },
      { name: 'syscall', kind: 'list', value: 'NAME', help: 'only entries and exits of this system call' },
      { name: 'pid', kind: 'int', value: 'N', help: 'only records of this process or thread' },
      { name: 'path', kind: 'string', value: 'TEXT', help: 'only records that mention a path with this text in it' },
      { name: 'from', kind: 'string', value: 'SEQ', help: 'only effects from this sequence number' },
      { name: 'to', kind: 'string', value: 'SEQ', help: 'only effects up to this sequence number' },
      { name: 'limit', kind: 'int', value: 'N', help: 'stop after so many' },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'stats',
    module: 'stats',
    summary: 'count the records by kind and by system call: issued, recorded, lost',
    args: [RUN],
    flags: [JSON_FLAG, RUNS],
  },
  {
    name: 'index',
    module: 'index',
    summary:
      'load the sealed segments of a run into a database; what is loaded already is left alone; 1 if any is damaged',
    args: [
      { name: 'run', help: 'name of a run, or a folder (with a / in it) that holds segments/, boots/ or machines/' },
    ],
    flags: [
      DB,
      { name: 'follow', kind: 'bool', help: 'go on with segments that come: until the run ends, or Ctrl-C' },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'query',
    module: 'query',
    summary:
      'ask the database of a run; without a question, list the named ones, of 1000 rows at most; of SQL a table has 10,000, --json all',
    args: [
      { name: 'run', help: 'as for `index`' },
      {
        name: 'question',
        help: 'a named query and its operands, or a SELECT in quotes',
        optional: true,
        variadic: true,
      },
    ],
    flags: [
      DB,
      { name: 'of', kind: 'string', value: 'RECORD', help: 'named queries: of one record alone, or of one machine' },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'server',
    module: 'server',
    summary: 'receive the records of a fleet of machines, encrypted, and acknowledge what is on the disk',
    args: [POINT],
    flags: [
      { name: 'listen', kind: 'string', value: 'HOST:PORT', help: 'where to listen (default: 127.0.0.1:4270)' },
      { name: 'make', kind: 'bool', help: 'make the storage point if there is none yet, as `enroll` does' },
    ],
  },
  {
    name: 'enroll',
    module: 'enroll',
    summary: 'make a machine known to a logging server; its key is made of a passphrase, asked for or read from stdin',
    args: [POINT, { name: 'machine', help: 'its name: a-z 0-9 . _ -' }],
    flags: [
      {
        name: 'key-file',
        kind: 'string',
        value: 'FILE',
        help: 'take the key from this file instead; if it is not there, a random key is written to it',
      },
      {
        name: 'mode',
        kind: 'string',
        value: 'MODE',
        help: 'how it may connect; plain traffic can be forged on the way (default: noise)',
        choices: ['noise', 'plain', 'any'],
      },
      { name: 'replace', kind: 'bool', help: 'give a machine that is enrolled already this key and mode instead' },
    ],
  },
  {
    name: 'status',
    module: 'status',
    summary: 'what a logging server is doing: senders, rates, lag, losses, refusals',
    args: [POINT],
    flags: [JSON_FLAG],
  },
  {
    name: 'bench',
    module: 'bench',
    summary: 'measure what recording costs, in all configurations; goes on where an interrupted one was',
    args: [],
    flags: [
      {
        name: 'lane',
        kind: 'list',
        value: 'LANE',
        help: 'only instructions of the guest (deterministic), or only time (parallel)',
        choices: LANES,
      },
      {
        name: 'configs',
        kind: 'list',
        value: 'A,B',
        help: `only these configurations; ${TRACEABLE}, and against it other recorders, only if named`,
        choices: [...CONFIG_NAMES, TRACEABLE, ...RIVAL_NAMES],
      },
      { name: 'workloads', kind: 'list', value: 'A,B', help: 'only these workloads', choices: WORKLOADS },
      {
        name: 'quick',
        kind: 'bool',
        help: "the paper's two tests with less work and one repeat, without the parallel lane, unless more is asked for",
      },
      { name: 'repeat', kind: 'string', value: 'F', help: 'do again what the report.json F says' },
      {
        name: 'output',
        kind: 'string',
        value: 'DIR',
        help: 'folder of the report (default: runs/bench; with --repeat one that is not there yet)',
      },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'bench compare',
    module: 'bench-compare',
    summary:
      'say what changed from one report of `bench` to another; 1 if anything did, if nothing can be told, or if a cell of one ' +
      'is not good',
    args: [
      { name: 'before', help: 'a report.json' },
      { name: 'after', help: 'another' },
    ],
    flags: [JSON_FLAG],
  },
  {
    name: 'audit',
    module: 'audit',
    summary: 'find every alteration of a run: an edit, a reorder, a removal, an insertion, a cut of its end',
    args: [
      {
        name: 'run',
        help: 'name of a run, or a path (with a / in it): of its folder, of a server, a machine there, or a sealed package',
      },
    ],
    flags: [
      {
        name: 'head',
        kind: 'list',
        value: 'HEAD',
        help: "a head that was written down, a file of heads, or what a witness' server keeps: …/machines/NAME",
      },
      { name: 'lab-key', kind: 'string', value: 'F.pem', help: 'public key of the lab that must have recorded it' },
      { name: 'tsa', kind: 'string', value: 'CA.pem', help: 'an authority that must have stamped the chain' },
      { name: 'quick', kind: 'bool', help: 'compare the sizes of disks, not their content' },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'witness',
    module: 'witness',
    summary: "send the heads of this lab's logs to a logging server of somebody else, which chains and signs them",
    args: [{ name: 'server', help: 'its address: HOST:PORT' }],
    flags: [
      { name: 'machine', kind: 'string', value: 'NAME', help: 'what this lab is enrolled as there', required: true },
      { name: 'key-file', kind: 'string', value: 'FILE', help: 'its key, as `enroll` wrote it', required: true },
      { name: 'follow', kind: 'bool', help: 'go on with heads as they come, until Ctrl-C' },
      JSON_FLAG,
    ],
  },
  {
    name: 'timestamp',
    module: 'timestamp',
    summary: "have an authority outside of the lab sign that the heads of a run's logs existed now (RFC 3161)",
    args: [RUN],
    flags: [
      {
        name: 'authority',
        kind: 'string',
        value: 'WHERE',
        help: 'http://… of an authority, or the folder of one made by lab/evidence/authority.sh',
        required: true,
      },
      { name: 'tsa', kind: 'string', value: 'CA.pem', help: 'its certificates (default: ca.pem in the folder)' },
      JSON_FLAG,
      RUNS,
    ],
    custody: 'operand',
  },
  {
    name: 'custody',
    module: 'custody',
    summary: 'print who did what to a run, or note something that was done by hand',
    args: [RUN],
    flags: [{ name: 'note', kind: 'string', value: 'TEXT', help: 'add a note' }, JSON_FLAG, RUNS],
  },
  {
    name: 'merge',
    module: 'merge',
    summary:
      'rebuild one run from what several storage points hold of the same boot; 1 if copies disagree or any is missing',
    args: [{ name: 'source', help: 'names of runs, or paths of their folders (with a / in them)', variadic: true }],
    flags: [
      { name: 'run', kind: 'string', value: 'NAME', help: 'name of the new run', required: true },
      { name: 'copies', kind: 'int', value: 'N', help: 'copies there should be of each sub-buffer (default: 1)' },
      { name: 'force', kind: 'bool', help: 'replace a run of that name' },
      JSON_FLAG,
      RUNS,
    ],
    custody: 'flag',
  },
  {
    name: 'seal',
    module: 'seal',
    summary:
      'make a package of a run that another lab can check, with ./lemona audit or with coreutils and openssl alone',
    args: [RUN],
    flags: [
      { name: 'output', kind: 'string', value: 'F.tar.zst', help: 'the package: .tar or .tar.zst', required: true },
      JSON_FLAG,
      RUNS,
    ],
  },
  {
    name: 'bench replay',
    module: 'bench-replay',
    summary: "time the same work as it is, recorded and rebuilt by us, and by QEMU's own record and replay",
    args: [],
    flags: [{ name: 'quick', kind: 'bool', help: 'a sixth of the work' }, JSON_FLAG, RUNS],
  },
  {
    name: 'check all',
    module: 'check',
    summary: 'everything that needs no QEMU: types, lint, folder table, generated files',
    args: [],
    flags: [],
  },
  {
    name: 'check text',
    module: 'check-text',
    summary: "prove that CONFIG_LEMONA=n has vanilla's machine code, object by object",
    args: [],
    flags: [JSON_FLAG],
  },
  {
    name: 'test',
    module: 'test',
    summary: 'run the tests and end with `N passed, N failed, N skipped`',
    args: [
      {
        name: 'group',
        help: 'only these groups (default: unit, golden, boot)',
        optional: true,
        variadic: true,
        choices: TEST_GROUPS,
      },
    ],
    flags: [{ name: 'grep', kind: 'string', value: 'PATTERN', help: 'only tests whose name matches' }],
  },
];

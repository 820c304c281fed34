// SPDX-License-Identifier: MIT
/**
 * Other recorders, to be compared with: each runs in the guest, on the same work. A recorder more is a row more, if the
 * kernel (guest-kernel/config/traceable.config) and the image `rivals` have what it needs. Each as Debian ships it, with
 * its own defaults but where a row says otherwise.
 */
import { LabError } from '../util/errors.js';
import type { RivalFigures } from './report-data.js';

/** Where a recorder writes; on the traced disk, as a user would have it. */
const TRACE = '/root/record/trace';

export interface Rival {
  /** Debian's. */
  readonly packages: readonly string[];
  /** Lines of sh that begin it; undefined: the command does. */
  readonly start?: string;
  /** The command that the work, a command itself, is run by. */
  readonly command: (work: readonly [string, ...string[]]) => readonly [string, ...string[]];
  /** Lines of sh that end it: the trace is complete after them. */
  readonly stop?: string;
  /** Lines of sh that print `calls N`, and whatever says how much was lost. */
  readonly read: string;
  /** Of what it said from its end on, how much was lost. */
  readonly lost: (said: string) => number;
  /** What a trace without losses holds of the arguments, and of what programs wrote. */
  readonly arguments: string;
  readonly written: string;
}

/** The sum of all numbers that a pattern's first group finds. */
function sumOf(said: string, pattern: RegExp): number {
  return [...said.matchAll(pattern)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** As `sumOf`, of a recorder that always says it: silence is no zero. */
function saidSum(said: string, pattern: RegExp): number {
  if (said.match(pattern) === null)
    throw new LabError('LAB_GUEST_PROBLEM', `the recorder did not say what it lost: ${said.slice(-200)}`);
  return sumOf(said, pattern);
}

const itself = (work: readonly [string, ...string[]]) => work;

/** strace stops a program at each call until it has written: there is nothing that could be lost. */
const STRACE = {
  packages: ['strace'],
  // A call that others interrupt has a line more, where it resumes.
  read: `echo calls $(grep -cE '^[0-9]+ +[a-z_0-9]+\\(' ${TRACE})`,
  lost: () => 0,
} as const;

/** The six arguments of each call, as numbers, by two tracepoints. */
const BPFTRACE_PROGRAM = `tracepoint:raw_syscalls:sys_enter /comm != "bpftrace"/ {
  printf("%lld %d enter %ld %lx %lx %lx %lx %lx %lx\\n", nsecs, tid, args->id,
    args->args[0], args->args[1], args->args[2], args->args[3], args->args[4], args->args[5]);
}
tracepoint:raw_syscalls:sys_exit /comm != "bpftrace"/ { printf("%lld %d exit %ld %ld\\n", nsecs, tid, args->id, args->ret); }`;

const NONE_WRITTEN = 'none';
const NUMBERS_ONLY = 'all six as numbers; nothing that they point to';

export const RIVALS = {
  strace: {
    ...STRACE,
    command: (work) => ['strace', '-f', '-o', TRACE, ...work],
    arguments: 'all, decoded; of strings the first 32 bytes',
    written: 'the first 32 bytes of each call; stores to mapped files not',
  },
  'strace-whole': {
    ...STRACE,
    command: (work) => ['strace', '-f', '-v', '-s', '1048576', '-o', TRACE, ...work],
    arguments: 'all, decoded, whole structures',
    written: 'up to 1 MiB of each call; stores to mapped files not',
  },
  auditd: {
    packages: ['auditd'],
    // By default five files of 8 MB are kept. The backlog is that of Debian's audit.rules.
    start: `sed -i -e 's|^log_file =.*|log_file = ${TRACE}|' -e 's/^max_log_file_action =.*/max_log_file_action = IGNORE/' /etc/audit/auditd.conf
auditd
auditctl -b 8192 --backlog_wait_time 60000
auditctl -a always,exit -F arch=b64 -S all
auditctl -a always,exit -F arch=b32 -S all`,
    command: itself,
    stop: `auditctl -D
until auditctl -s | grep -qx 'backlog 0'; do sleep 0.1; done
auditctl -s
pid=$(cat /run/auditd.pid)
kill $pid
while [ -e /proc/$pid ]; do sleep 0.1; done`,
    read: `echo calls $(grep -c '^type=SYSCALL ' ${TRACE})`,
    lost: (said) => saidSum(said, /^lost (\d+)$/gm),
    arguments: 'the first four as numbers; paths, and the words of exec',
    written: NONE_WRITTEN,
  },
  'trace-cmd': {
    packages: ['trace-cmd'],
    command: (work) => ['trace-cmd', 'record', '-e', 'raw_syscalls', '-o', TRACE, ...work],
    read: `trace-cmd report --stat -i ${TRACE} | grep -E 'overrun:|dropped events:'
echo calls $(trace-cmd report -i ${TRACE} | grep -c ' sys_enter:')`,
    lost: (said) => saidSum(said, /^\s*(?:overrun|commit overrun|dropped events): (\d+)$/gm),
    arguments: NUMBERS_ONLY,
    written: NONE_WRITTEN,
  },
  'perf-trace': {
    packages: ['linux-perf'],
    command: (work) => ['perf', 'trace', '-o', TRACE, ...work],
    // A call that others interrupt has a line more, marked as continued.
    read: `echo calls $(grep -E '^ *[0-9.]+ \\(' ${TRACE} | grep -vc 'continued\\]: ')
grep '^LOST ' ${TRACE} || :`,
    lost: (said) => sumOf(said, /^LOST (\d+) events!$/gm),
    arguments: 'all, some decoded; of what they point to nothing',
    written: NONE_WRITTEN,
  },
  bpftrace: {
    packages: ['bpftrace'],
    // It looks programs up itself, and refuses one that PATH names twice: /bin is /usr/bin.
    command: (work) => ['bpftrace', '-o', TRACE, '-e', BPFTRACE_PROGRAM, '-c', `/bin/${work.join(' ')}`],
    read: `echo calls $(grep -c ' enter ' ${TRACE})
grep '^Lost ' ${TRACE} || :`,
    lost: (said) => sumOf(said, /^Lost (\d+) events$/gm),
    arguments: NUMBERS_ONLY,
    written: NONE_WRITTEN,
  },
} as const satisfies Record<string, Rival>;

export type RivalName = keyof typeof RIVALS;
export const RIVAL_NAMES = Object.keys(RIVALS) as readonly RivalName[];

/** The rival's row; undefined of a configuration that is none. */
export function findRival(name: string): Rival | undefined {
  return Object.hasOwn(RIVALS, name) ? RIVALS[name as RivalName] : undefined;
}

const FOLDER = '/root/rival';
/** After this line comes what was read. */
const READING = '--- the record';

/**
 * What a traceable guest runs, with a rival or without one. The work's own status is kept in a file: not every recorder
 * hands it on. Pure.
 */
export function rivalScript(rival: Rival | undefined, work: string): string {
  const command = (rival?.command ?? itself)(['sh', `${FOLDER}/run`]);
  const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const reading =
    rival === undefined ? [] : [`echo '${READING}'`, rival.stop ?? ':', `stat -c 'bytes %s' ${TRACE}`, rival.read];
  return [
    'set -e',
    'export LC_ALL=C',
    `mkdir ${FOLDER} /root/record`,
    'mount -t debugfs debugfs /sys/kernel/debug',
    'mount -t tracefs tracefs /sys/kernel/tracing',
    `cat >${FOLDER}/work <<'END OF THE WORK'\n${work}\nEND OF THE WORK`,
    `printf 'sh ${FOLDER}/work\\necho $? >${FOLDER}/status\\n' >${FOLDER}/run`,
    rival?.start ?? ':',
    // A recorder may end with a status of its own; that the work was done its file says.
    `${quoted} || :`,
    '[ "$(cat /root/rival/status)" = 0 ]',
    ...reading,
  ].join('\n');
}

/** What a rival's trace is like, of what the guest printed. Pure. */
export function rivalFigures(rival: Rival, output: string): RivalFigures {
  const at = output.lastIndexOf(`${READING}\n`);
  const said = at < 0 ? '' : output.slice(at);
  const [bytes, calls] = ['bytes', 'calls'].map((what) => new RegExp(`^${what} (\\d+)$`, 'm').exec(said)?.[1]);
  if (bytes === undefined || calls === undefined)
    throw new LabError('LAB_GUEST_PROBLEM', `the guest did not say what the recorder wrote: ${output.slice(-500)}`);
  return { bytes: Number(bytes), calls: Number(calls), lost: rival.lost(said) };
}

// SPDX-License-Identifier: MIT
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { Db } from '../../lab/store/db.js';
import { findTraces, Load, loadAll } from '../../lab/store/load.js';
import { parseQuestion } from '../../lab/store/query.js';
import { SqliteStore } from '../../lab/store/sqlite-store.js';
import { segmentName } from '../../lab/trace/segment-format.js';
import { SegmentWriter } from '../../lab/trace/segment-writer.js';
import { LabError } from '../../lab/util/errors.js';
import { ask, dump, loadFolder, storeContext, useStore } from '../harness/store.js';
import { failureOf } from '../support/failure.js';
import { writeSegments } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';
import { synthesize } from '../support/trace-synth.js';

const DEV = 0xfe00;
const OPENAT = 257;
const EXECVE = 59;
const CONNECT = 42;
const ACCEPT = 43;
const FIRST_NS = 1_700_000_000_000_000_000n;

describe('the database of a run', () => {
  const folder = useStore();

  /** Loads records of one CPU, one microsecond apart; the path of the database. */
  async function load(records: readonly Buffer[]): Promise<string> {
    const timed = records.map((record, i) => {
      const copy = Buffer.from(record);
      copy.writeUInt32LE(1000 * (i + 1), 12);
      return copy;
    });
    await writeSegments(folder(), [b.subbuf(timed)]);
    const db = path.join(folder(), 'index.db');
    await loadFolder(folder(), db);
    return db;
  }

  const mounted = b.mount('MOUNT', { seq: 1n, ino: 2n, gen: 0, dev: DEV }, 'ext4', '/dev/vda');
  const dir = (ino: bigint) => b.attr({ ino, mode: 0o40755 });
  const mkdir = (seq: bigint, ino: bigint, name: string, parent = b.dirAttr()) =>
    b.dentry('MKDIR', { seq, ino, name, dir: parent, child: dir(ino) });

  it('has one row for a call, with what it returned', async () => {
    const db = await load([
      b.entry(OPENAT, [-100, 0x7ffd_1234_5678n, 0o1101, 0o644], [b.tlv('PATH', '/etc/passwd', { arg: 1 })]),
      b.exit(OPENAT, -13),
      b.entry(0, [2n ** 64n - 1n, 2n ** 63n]),
    ]);
    expect(
      await ask(db, 'SELECT time, duration_ns, what, text, result, a0, a1, a2, a3, a4 FROM event_list ORDER BY id'),
    ).to.deep.equal([
      `2023-11-14T22:13:20.000001000Z 1000 openat /etc/passwd -13 -100 ${0x7ffd_1234_5678} 577 420 -`,
      '2023-11-14T22:13:20.000003000Z - read - - -1 -9223372036854775808 - - -',
    ]);
    expect(await ask(db, 'SELECT event, tid FROM open_calls')).to.deep.equal(['2 100']);
  });

  it('has times exact to the nanosecond', async () => {
    const db = await load([b.entry(0), b.nop(1n)]);
    expect(await ask(db, 'SELECT time_ns FROM events')).to.deep.equal([String(FIRST_NS + 1000n)]);
    expect(await ask(db, 'SELECT time_ns FROM effects')).to.deep.equal([String(FIRST_NS + 2000n)]);
  });

  it('knows the paths of files over time, below a renamed directory too', async () => {
    const db = await load([
      mounted,
      mkdir(2n, 20n, 'a'),
      mkdir(3n, 21n, 'b', dir(20n)),
      b.dentry('CREATE', { seq: 4n, ino: 22n, name: 'f', dir: dir(21n) }),
      b.rename({ seq: 5n, ino: 20n, oldName: 'a', newName: 'z', source: dir(20n) }),
      b.write({ seq: 6n, ino: 22n }, 0n, 'late'),
      b.dentry('LINK', { seq: 7n, ino: 22n, name: 'g', child: b.attr({ ino: 22n, nlink: 2 }) }),
      b.dentry('UNLINK', { seq: 8n, ino: 22n, name: 'f', dir: dir(21n) }),
      b.dentry('UNLINK', { seq: 9n, ino: 22n, name: 'g', child: b.attr({ ino: 22n, nlink: 0 }) }),
      b.gone({ seq: 10n, ino: 22n }),
    ]);
    expect(await ask(db, 'SELECT path, from_seq, until_seq FROM path_list ORDER BY from_seq, path')).to.deep.equal([
      '/ 1 -',
      '/a 2 5',
      '/a/b 3 5',
      '/a/b/f 4 5',
      '/z 5 -',
      '/z/b 5 -',
      '/z/b/f 5 8',
      '/g 7 9',
    ]);
    expect(await ask(db, 'SELECT seq, what, path, other FROM effect_list WHERE seq > 4 ORDER BY seq')).to.deep.equal([
      '5 RENAME /z /a',
      '6 WRITE /z/b/f -',
      '7 LINK /g -',
      '8 UNLINK /z/b/f -',
      '9 UNLINK /g -',
      '10 GONE /g -',
    ]);
  });

  it('follows two directories that change places', async () => {
    const db = await load([
      mounted,
      mkdir(2n, 20n, 'a'),
      mkdir(3n, 21n, 'b'),
      b.dentry('CREATE', { seq: 4n, ino: 22n, name: 'x', dir: dir(20n) }),
      b.dentry('CREATE', { seq: 5n, ino: 23n, name: 'y', dir: dir(21n) }),
      b.rename({ seq: 6n, ino: 20n, oldName: 'a', newName: 'b', renameFlags: 2, source: dir(20n), target: dir(21n) }),
      b.write({ seq: 7n, ino: 22n }, 0n, '1'),
      b.write({ seq: 8n, ino: 23n }, 0n, '2'),
    ]);
    expect(await ask(db, 'SELECT seq, path FROM effect_list WHERE seq > 6 ORDER BY seq')).to.deep.equal([
      '7 /b/x',
      '8 /a/y',
    ]);
  });

  it('takes names that the image knew, and those of its users', async () => {
    await writeSegments(folder(), [
      b.subbuf([
        mounted,
        b.write({ seq: 2n, ino: 31n, gen: 7 }, 0n, 'x'),
        b.dentry('CREATE', { seq: 3n, ino: 32n, name: 'new', dir: dir(30n) }),
        b.setattr({ seq: 4n, ino: 32n }, FLAG.VALID_UID, b.attr({ ino: 32n, uid: 1000 })),
      ]),
    ]);
    const db = path.join(folder(), 'index.db');
    const names = [
      { path: '/', ino: 2, gen: 0 },
      { path: '/etc', ino: 30, gen: 1 },
      { path: '/etc/passwd', ino: 31, gen: 7 },
    ];
    const base = {
      uuid: Buffer.alloc(16, 0xab),
      names: async function* () {
        yield* names;
      },
      passwd: async () => [{ name: 'alice', uid: 1000, isLater: false }],
    };
    await loadFolder(folder(), db, { base });
    expect(await ask(db, 'SELECT seq, path FROM effect_list WHERE seq IN (2, 3) ORDER BY seq')).to.deep.equal([
      '2 /etc/passwd',
      '3 /etc/new',
    ]);
    expect(await ask(db, 'SELECT uid, name, source FROM users ORDER BY uid')).to.deep.equal([
      '0 - -',
      '1000 alice image',
    ]);
  });

  it('learns names of users from what is written to /etc/passwd', async () => {
    const db = await load([
      mounted,
      mkdir(2n, 20n, 'etc'),
      b.dentry('CREATE', { seq: 3n, ino: 21n, name: 'passwd+', dir: dir(20n) }),
      b.write({ seq: 4n, ino: 21n }, 0n, 'root:x:0:0:root:/root:/bin/sh\nmallory:x:0:0::/:/bin/sh\n'),
    ]);
    expect(await ask(db, 'SELECT uid, name, source FROM users')).to.deep.equal(['0 root record']);
  });

  it('calls a file by the name it has had longest, whatever else it is linked to', async () => {
    const db = await load([
      mounted,
      b.dentry('CREATE', { seq: 2n, ino: 22n, name: 'passwd' }),
      b.dentry('LINK', { seq: 3n, ino: 22n, name: '.x', child: b.attr({ ino: 22n, nlink: 2 }) }),
      b.write({ seq: 4n, ino: 22n }, 0n, 'evil'),
    ]);
    expect(await ask(db, 'SELECT path FROM effect_list WHERE seq > 2 ORDER BY seq')).to.deep.equal(['/.x', '/passwd']);
  });

  it('ends a name when a file has another and no more than one: something was lost', async () => {
    const db = await load([
      mounted,
      b.dentry('CREATE', { seq: 2n, ino: 22n, name: 'a' }),
      b.rename({ seq: 4n, ino: 22n, oldName: 'b', newName: 'c', source: b.attr({ ino: 22n, nlink: 1 }) }),
      b.write({ seq: 5n, ino: 22n }, 0n, 'x'),
    ]);
    expect(await ask(db, 'SELECT path FROM effect_list WHERE seq = 5')).to.deep.equal(['/c']);
    expect(
      await ask(db, 'SELECT path, from_seq, until_seq FROM path_list WHERE from_seq > 1 ORDER BY id'),
    ).to.deep.equal(['/a 2 4', '/c 4 -']);
  });

  it('gives no user another name for a line that is appended, and one for a file that is written anew', async () => {
    const passwd = [
      mounted,
      mkdir(2n, 20n, 'etc'),
      b.dentry('CREATE', { seq: 3n, ino: 21n, name: 'passwd', dir: dir(20n) }),
      b.write({ seq: 4n, ino: 21n }, 0n, 'root:x:0:0::/root:/bin/sh\nal:x:1000:1000::/:/bin/sh\n'),
      b.write({ seq: 5n, ino: 21n }, 52n, 'toor::0:0::/:/bin/sh\nbo:x:1001:1001::/:/bin/sh\n'),
    ];
    const names = 'SELECT uid, name FROM users WHERE name IS NOT NULL ORDER BY uid';
    expect(await ask(await load(passwd), names)).to.deep.equal(['0 root', '1000 al', '1001 bo']);
    await rm(path.join(folder(), 'index.db'));
    await rm(path.join(folder(), 'segments'), { recursive: true });
    const anew = b.write({ seq: 6n, ino: 21n }, 0n, 'root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n');
    expect(await ask(await load([...passwd, anew]), names)).to.deep.equal(['0 root', '1000 alice', '1001 bo']);
  });

  it('takes no path from what was mounted, and tells other file systems from the root one', async () => {
    const loop = { dev: 0x700, uuid: Buffer.alloc(16, 1) };
    const foreign = b.mount('MOUNT', { seq: 1n, ino: 2n, gen: 0, ...loop }, 'ext4', '/srv/www');
    const records = [
      b.mount('MOUNT', { seq: 2n, ino: 2n, gen: 0, dev: DEV }, 'ext4', '/dev/vda'),
      b.dentry('CREATE', { seq: 3n, ino: 22n, name: 'f' }),
      b.dentry('CREATE', { seq: 4n, ino: 22n, name: 'f', dev: 0x700 }),
      b.dentry('CREATE', { seq: 5n, ino: 23n, name: 'g', dev: 0x700, dir: dir(77n) }),
      b.dentry('CREATE', { seq: 6n, ino: 24n, name: 'h', dev: 0x800 }),
    ];
    await writeSegments(folder(), [b.subbuf([foreign, ...records])]);
    const base = { uuid: Buffer.alloc(16, 0xab), names: async function* () {}, passwd: async () => [] };
    const known = path.join(folder(), 'known.db');
    const guessed = path.join(folder(), 'guessed.db');
    await loadFolder(folder(), known, { base });
    const paths = 'SELECT path FROM effect_list WHERE seq > 2 ORDER BY seq';
    expect(await ask(known, paths)).to.deep.equal(['/f', '[dev 7:0]/f', '[dev 7:0]#77/g', '[dev 8:0]/h']);
    expect(await ask(known, 'SELECT path FROM path_list WHERE from_seq < 3 ORDER BY path')).to.deep.equal([
      '/',
      '[dev 7:0]/',
    ]);
    expect(await ask(known, 'SELECT root_dev FROM traces')).to.deep.equal([String(DEV)]);
    // Without the image the first one mounted is the root.
    await loadFolder(folder(), guessed);
    expect(await ask(guessed, paths)).to.deep.equal(['[dev 254:0]/f', '/f', '#77/g', '[dev 8:0]/h']);
  });

  it('has the tree of processes, their programs, and who became whom', async () => {
    const db = await load([
      b.task({ tid: 1, tgid: 1, parent_tgid: 0, comm: 'init' }, { code: 1, tid: 1 }),
      b.task({ tid: 50, tgid: 50, parent_tgid: 1, comm: 'init', uid: 1000, euid: 1000 }, { tid: 1 }),
      b.entry(
        EXECVE,
        [1, 2, 3],
        [
          b.tlv('PATH', '/bin/su', { arg: 0 }),
          b.tlv('STRV', 'su\0-\0', { arg: 1 }),
          b.tlv('STRV', 'A=1\0', { arg: 2 }),
        ],
        { tid: 50 },
      ),
      b.exec('/bin/su', { tgid: 50, uid: 1000, euid: 0, comm: 'su' }, { tid: 50 }),
      b.exit(0xffff, 0, [], { tid: 50 }),
      b.cred({ uid: 0, euid: 0 }, { tid: 50 }),
      b.task({ tid: 51, tgid: 50, parent_tgid: 1, comm: 'su', task_flags: FLAG.TASK_F_THREAD }, { tid: 50 }),
      b.task({ tid: 52, tgid: 52, parent_tgid: 50, comm: 'su' }, { tid: 51 }),
      b.taskExit(0x100, { tid: 52 }),
    ]);
    expect(
      await ask(db, 'SELECT pid, parent_pid, comm, exe, args, uid, euid, status FROM process_list ORDER BY id'),
    ).to.deep.equal(['1 - init - - 0 0 -', '50 1 su /bin/su su - 0 0 -', '52 50 su /bin/su su - 0 0 256']);
    expect(await ask(db, 'SELECT tid, process FROM threads ORDER BY id')).to.deep.equal([
      '1 1',
      '50 2',
      '51 2',
      '52 3',
    ]);
    expect(await ask(db, 'SELECT old_uid, old_euid, uid, euid FROM identities ORDER BY id')).to.deep.equal([
      '1000 1000 1000 0',
      '1000 0 0 0',
    ]);
    expect(await ask(db, 'SELECT program, arguments, uid, euid FROM program_list')).to.deep.equal([
      '/bin/su su - 1000 0',
    ]);
  });

  it('ends a process with its last thread, and lets a thread that executes a program go on as the first one', async () => {
    const db = await load([
      b.task({ tid: 60, tgid: 60 }, { tid: 1 }),
      b.task({ tid: 61, tgid: 60, task_flags: FLAG.TASK_F_THREAD }, { tid: 60 }),
      b.taskExit(0, { tid: 60 }),
      b.nop(1n, { tid: 61 }),
      b.taskExit(0x700, { tid: 61 }),
      b.task({ tid: 70, tgid: 70 }, { tid: 1 }),
      b.task({ tid: 71, tgid: 70, task_flags: FLAG.TASK_F_THREAD }, { tid: 70 }),
      b.entry(EXECVE, [], [b.tlv('STRV', 'echo\0hi\0', { arg: 1 })], { tid: 71 }),
      b.taskExit(0, { tid: 70 }),
      b.exec('/bin/echo', { tgid: 70 }, { tid: 70 }),
      b.exit(0xffff, 0, [], { tid: 70 }),
      b.taskExit(0x100, { tid: 70 }),
    ]);
    const ns = (n: number) => String(FIRST_NS + 1000n * BigInt(n));
    expect(await ask(db, 'SELECT pid, ended_ns, status FROM processes WHERE pid > 50')).to.deep.equal([
      `60 ${ns(5)} 1792`,
      `70 ${ns(12)} 256`,
    ]);
    expect(await ask(db, 'SELECT tid, ended_ns FROM threads WHERE tid > 50 ORDER BY tid')).to.deep.equal([
      `60 ${ns(3)}`,
      `61 ${ns(5)}`,
      `70 ${ns(12)}`,
      `71 ${ns(10)}`,
    ]);
    expect(await ask(db, 'SELECT pid, program, arguments FROM program_list')).to.deep.equal(['70 /bin/echo echo hi']);
    expect(await ask(db, "SELECT tid, result FROM event_list WHERE what = 'execve'")).to.deep.equal(['71 0']);
  });

  it('blames for a setuid bit whoever set it, and for a file that is gone whoever put another one in its place', async () => {
    const setuid = b.attr({ ino: 22n, mode: 0o104755 });
    const db = await load([
      mounted,
      b.dentry('CREATE', { seq: 2n, ino: 22n, name: 'su', child: b.attr({ ino: 22n, mode: 0o100755 }) }),
      b.setattr({ seq: 3n, ino: 22n, tid: 5 }, FLAG.VALID_MODE, setuid),
      b.setattr({ seq: 4n, ino: 22n, tid: 10 }, 0, setuid),
      b.dentry('CREATE', { seq: 5n, ino: 23n, name: 'log' }),
      b.dentry('CREATE', { seq: 6n, ino: 24n, name: 'x' }),
      b.rename({
        seq: 7n,
        ino: 24n,
        oldName: 'x',
        newName: 'log',
        target: b.attr({ ino: 23n, nlink: 0, size: 9999n }),
      }),
      b.rename({ seq: 8n, ino: 24n, oldName: 'log', newName: 'y', target: b.attr({ ino: 23n, nlink: 1 }) }),
      b.dentry('CREATE', { seq: 9n, ino: 25n, name: 'su2', child: b.attr({ ino: 25n, mode: 0o104755 }) }),
    ]);
    const answer = (name: string, ...columns: string[]) =>
      ask(db, `SELECT ${columns.join(', ')} FROM (${parseQuestion([name]).sql})`);
    expect(await answer('setuid', 'seq', 'what', 'path', 'pid')).to.deep.equal([
      '3 SETATTR /su 5',
      '9 CREATE /su2 100',
    ]);
    expect(await answer('deleted', 'seq', 'what', 'path', 'size', 'replaced_by')).to.deep.equal([
      '7 RENAME /log 9999 /x',
    ]);
  });

  it('says who acted as it was then: program, task name and effective owner of the thread', async () => {
    const records = [
      b.task({ tid: 10, tgid: 10, comm: 'sshd' }, { tid: 1 }),
      b.entry(EXECVE, [1, 2, 3], [b.tlv('STRV', 'bash\0-c\0echo x >> /f; ls\0', { arg: 1 })], { tid: 10 }),
      b.exec('/bin/bash', { tgid: 10, comm: 'bash' }, { tid: 10 }),
      b.exit(0xffff, 0, [], { tid: 10 }),
      b.write({ seq: 1n, ino: 22n, tid: 10 }, 0n, 'x'),
      b.task({ tid: 11, tgid: 10, comm: 'bash', task_flags: FLAG.TASK_F_THREAD }, { tid: 10 }),
      b.cred({ uid: 1000, euid: 1000 }, { tid: 11 }),
      b.write({ seq: 2n, ino: 22n, tid: 10 }, 0n, 'x'),
      b.write({ seq: 3n, ino: 22n, tid: 11 }, 0n, 'x'),
      b.task({ tid: 12, tgid: 12, comm: 'job' }, { tid: 10 }),
      b.entry(OPENAT, [0], [], { tid: 12 }),
      b.write({ seq: 4n, ino: 22n, tid: 12 }, 0n, 'x'),
      b.entry(EXECVE, [1, 2, 3], [b.tlv('STRV', 'ls\0', { arg: 1 })], { tid: 10 }),
      b.exec('/bin/ls', { tgid: 10, comm: 'ls' }, { tid: 10 }),
      b.exit(0xffff, 0, [], { tid: 10 }),
      b.cred({ uid: 1000, euid: 1000 }, { tid: 10 }),
      b.write({ seq: 5n, ino: 22n, tid: 10 }, 0n, 'x'),
    ];
    const wanted = [
      '1 0 bash /bin/bash bash -c echo x >> /f; ls',
      '2 0 bash /bin/bash bash -c echo x >> /f; ls',
      '3 1000 bash /bin/bash bash -c echo x >> /f; ls',
      '4 0 job /bin/bash bash -c echo x >> /f; ls',
      '5 1000 ls /bin/ls ls',
    ];
    const db = await load(records);
    const effects = 'SELECT seq, actor_euid, comm, exe, args FROM effect_list ORDER BY seq';
    expect(await ask(db, effects)).to.deep.equal(wanted);
    expect(
      await ask(db, "SELECT what, actor_euid, comm, exe FROM event_list WHERE class = 'ENTRY' ORDER BY id"),
    ).to.deep.equal(['execve 0 sshd -', 'openat 0 job /bin/bash', 'execve 0 bash /bin/bash']);
    expect(await ask(db, 'SELECT pid, comm, exe FROM process_list WHERE pid > 9 ORDER BY id')).to.deep.equal([
      '10 ls /bin/ls',
      '12 job /bin/bash',
    ]);

    // An inserter that goes on there knows them too.
    const pieces = path.join(folder(), 'pieces');
    const halves = [records.slice(0, 7), records.slice(7)].map((half, n) =>
      b.subbuf(half, { monoNs: BigInt(n + 1) * 5_000_000_000n, number: BigInt(n) }),
    );
    await writeSegments(pieces, halves, 1);
    const [second, away] = [path.join(pieces, 'segments', segmentName(1)), path.join(folder(), 'second')];
    await rename(second, away);
    await loadFolder(pieces, path.join(pieces, 'index.db'), { isEnd: false });
    await rename(away, second);
    await loadFolder(pieces, path.join(pieces, 'index.db'));
    expect(await ask(path.join(pieces, 'index.db'), effects)).to.deep.equal(wanted);
  });

  it('gives a result to the call that it is of, where records were lost', async () => {
    const db = await load([
      b.entry(OPENAT, [0], [b.tlv('PATH', '/etc/shadow', { arg: 1 })], { tid: 10 }),
      b.exit(0, 100, [], { tid: 10 }),
      b.exit(OPENAT, 5, [], { tid: 10 }),
      b.entry(EXECVE, [], [], { tid: 10 }),
      b.exit(0xffff, 0, [], { tid: 10 }),
      b.loss(FLAG.LOSS_LOSSY, { records: 2 }),
    ]);
    expect(
      await ask(db, "SELECT what, text, duration_ns, result FROM event_list WHERE class = 'ENTRY' ORDER BY id"),
    ).to.deep.equal(['openat /etc/shadow - -', 'read - - 100', 'openat - - 5', 'execve - 1000 0']);
  });

  it('gives no act to a process that is dead, where the birth of another one was lost', async () => {
    const db = await load([
      b.task({ tid: 10, tgid: 10, comm: 'backup' }, { tid: 1 }),
      b.exec('/usr/bin/backup', { tgid: 10, comm: 'backup' }, { tid: 10 }),
      b.taskExit(0, { tid: 10 }),
      b.nop(1n, { tid: 10 }),
      b.entry(OPENAT, [0], [b.tlv('PATH', '/etc/shadow', { arg: 1 })], { tid: 10 }),
      b.exit(OPENAT, 3, [], { tid: 10 }),
      b.nop(2n, { tid: 10 }),
    ]);
    expect(await ask(db, "SELECT comm, exe, result FROM event_list WHERE what = 'openat'")).to.deep.equal([' - 3']);
    expect(await ask(db, 'SELECT seq, exe FROM effect_list ORDER BY seq')).to.deep.equal(['1 /usr/bin/backup', '2 -']);
    expect(
      await ask(db, 'SELECT pid, born_ns IS NULL, ended_ns IS NULL FROM processes WHERE pid = 10 ORDER BY id'),
    ).to.deep.equal(['10 0 0', '10 1 1']);
  });

  it('has the child of a program that hides behind CLONE_PARENT as its own', async () => {
    const db = await load([
      b.task({ tid: 5, tgid: 5, parent_tgid: 1, comm: 'bash' }, { tid: 1 }),
      b.exec('/bin/bash', { tgid: 5, comm: 'bash' }, { tid: 5 }),
      b.task({ tid: 6, tgid: 6, parent_tgid: 5, comm: 'bash' }, { tid: 5 }),
      b.entry(EXECVE, [1, 2, 3], [b.tlv('STRV', '/tmp/evil\0-q\0', { arg: 1 })], { tid: 6 }),
      b.exec('/tmp/evil', { tgid: 6, comm: 'evil' }, { tid: 6 }),
      b.task({ tid: 7, tgid: 7, parent_tgid: 5, comm: 'evil' }, { tid: 6 }),
    ]);
    expect(await ask(db, 'SELECT parent_pid, exe, args FROM process_list WHERE pid = 7')).to.deep.equal([
      '6 /tmp/evil /tmp/evil -q',
    ]);
  });

  it('has the addresses of sockets, told at the entry or at the exit', async () => {
    const address = Buffer.from([2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    const db = await load([
      b.entry(CONNECT, [3, 1, 16], [b.tlv('SOCKADDR', address, { arg: 1 })]),
      b.exit(CONNECT, -111),
      b.entry(ACCEPT, [4, 1, 2]),
      b.exit(ACCEPT, 5, [b.tlv('SOCKADDR', address, { arg: 1 })]),
    ]);
    expect(await ask(db, 'SELECT what, address, result FROM connection_list ORDER BY id')).to.deep.equal([
      'connect 127.0.0.1:8080 -111',
      'accept 127.0.0.1:8080 5',
    ]);
  });

  it('has no more of an address than the caller had room for: the rest is its old memory', async () => {
    const address = Buffer.from([2, 0, 0x1f, 0x90, 6, 6, 6, 6, 0, 0, 0, 0, 0, 0, 0, 0]);
    const int = (value: number) => Buffer.from([value, 0, 0, 0]);
    const told = [b.tlv('SOCKADDR', address, { arg: 1 }), b.tlv('STRUCT', int(16), { arg: 2 })];
    const records = [2, 0, 4, 16, 128].flatMap((room) => [
      b.entry(ACCEPT, [4, 1, 2], [b.tlv('STRUCT', int(room), { arg: 2 })]),
      b.exit(ACCEPT, 5, told),
    ]);
    const db = await load([...records, b.entry(ACCEPT, [4, 1, 2]), b.exit(ACCEPT, 5, told)]);
    expect(await ask(db, 'SELECT address, notes FROM connection_list ORDER BY id')).to.deep.equal([
      'family2:… truncated',
      'family2:1f90… truncated',
      ...['6.6.6.6:8080 -', '6.6.6.6:8080 -', '6.6.6.6:8080 -'],
    ]);
  });

  it('says what a record says of itself: refused, cut, not captured whole, not to be read', async () => {
    const [UNLINK, READLINK] = [87, 89];
    const path = b.tlv('PATH', '/etc/passwd', { arg: 0 });
    const db = await load([
      b.entry(UNLINK, [1], [path], { flags: FLAG.F_DENIED }),
      b.exit(UNLINK, 0),
      b.entry(UNLINK, [1], [], { flags: FLAG.F_CUT }),
      b.exit(UNLINK, 0),
      b.entry(UNLINK, [1], [b.tlv('PATH', '/aaa', { trueLen: 9000, flags: FLAG.TLV_F_TRUNCATED })]),
      b.exit(UNLINK, 0),
      b.entry(UNLINK, [1], [b.tlv('PATH', '', { flags: FLAG.TLV_F_FAULT })]),
      b.exit(UNLINK, -14),
      b.entry(READLINK, [1, 2, 3], [path], { flags: FLAG.F_DENIED }),
      b.exit(READLINK, 4, [b.tlv('PATH', '/x', { arg: 1, flags: FLAG.TLV_F_TRUNCATED })], { flags: FLAG.F_CUT }),
    ]);
    expect(await ask(db, 'SELECT what, text, result, flags, notes FROM event_list ORDER BY id')).to.deep.equal([
      'unlink /etc/passwd 0 1 denied',
      'unlink - 0 2 cut',
      'unlink /aaa… 0 4 truncated',
      'unlink  -14 8 fault',
      'readlink /etc/passwd 4 7 denied cut truncated',
    ]);
  });

  it('has the arguments of a program, not its environment, and says where they go on', async () => {
    const run = (nr: number, tlvs: readonly Buffer[]) => [
      b.entry(nr, [1, 2, 3], tlvs),
      b.exec('/tmp/evil'),
      b.exit(0xffff, 0),
    ];
    const EXECVEAT = 322;
    const db = await load([
      ...run(EXECVE, [b.tlv('PATH', '/tmp/evil'), b.tlv('STRV', 'apt-get\0update\0', { arg: 2 })]),
      ...run(EXECVEAT, [b.tlv('STRV', 'a\0b\0', { arg: 2 }), b.tlv('STRV', 'A=1\0', { arg: 3 })]),
      ...run(EXECVE, [b.tlv('STRV', 'curl\0http://good', { arg: 1, trueLen: 5000, flags: FLAG.TLV_F_TRUNCATED })]),
    ]);
    expect(await ask(db, 'SELECT arguments FROM program_list ORDER BY id')).to.deep.equal([
      ...['-', 'a b', 'curl http://good…'],
    ]);
    expect(await ask(db, "SELECT text FROM event_list WHERE what = 'execve' ORDER BY id LIMIT 1")).to.deep.equal([
      '/tmp/evil',
    ]);
  });

  it('declares losses, with the paths that they were about', async () => {
    const db = await load([
      mounted,
      b.dentry('CREATE', { seq: 2n, ino: 12n, name: 'f' }),
      b.loss(FLAG.LOSS_LOSSY, { seq_first: 3n, seq_last: 4n, effects: 2, records: 9 }),
      b.lost({ seq_first: 3n, seq_last: 4n, what: FLAG.LOST_CONTENT, effects: 2, len: 2n ** 64n - 1n }),
    ]);
    expect(
      await ask(
        db,
        'SELECT class, reason, records, effects, seq_first, seq_last, what, len, path FROM loss_list ORDER BY id',
      ),
    ).to.deep.equal(['LOSS 3 9 2 3 4 - - -', 'LOST - - 2 3 4 1 -1 /f']);
  });

  it('finds words of paths and arguments', async () => {
    const db = await load([
      b.entry(OPENAT, [0], [b.tlv('PATH', '/home/alice/.ssh/id_rsa', { arg: 1 })]),
      b.entry(OPENAT, [0], [b.tlv('PATH', '/home/alice/notes', { arg: 1 })], { tid: 101 }),
    ]);
    const found = "SELECT t.text FROM search s JOIN texts t ON t.id = s.rowid WHERE search MATCH 'ssh id_rsa'";
    expect(await ask(db, found)).to.deep.equal(['/home/alice/.ssh/id_rsa']);
  });

  it('says what of a segment is damaged, and has the rest', async () => {
    const good = b.subbuf([b.entry(0)]);
    const bad = b.subbuf([b.entry(1)], { number: 1n });
    bad.writeUInt32LE(2, 64);
    b.reseal(bad);
    const foreign = b.subbuf([b.entry(2)], { number: 2n, bootId: 5n });
    await writeSegments(folder(), [good, bad, foreign, b.subbuf([b.entry(3)], { number: 3n })]);
    const db = path.join(folder(), 'index.db');
    await loadFolder(folder(), db);
    expect(await ask(db, 'SELECT what FROM event_list ORDER BY id')).to.deep.equal(['read', 'close']);
    expect(
      (await ask(db, 'SELECT kind, detail FROM problems ORDER BY id')).map((line) => line.slice(0, 40)),
    ).to.deep.equal([
      'malformed holds 1 records with 0 effects'.slice(0, 40),
      'malformed it is of boot 0000000000000005',
    ]);
  });
});

describe('the inserter', () => {
  const folder = useStore();
  const RECORDS = 6000;
  const SEGMENT_BYTES = 70_000;

  it('takes no segment of an earlier format for loaded', async () => {
    await writeSegments(folder(), [b.subbuf([b.nop(1n)])]);
    const file = path.join(folder(), 'segments', segmentName(0));
    const bytes = await readFile(file);
    bytes.writeUInt32LE(1, 8);
    await writeFile(file, bytes);
    const db = path.join(folder(), 'index.db');
    const error = await failureOf(loadFolder(folder(), db));
    expect(error.code).to.equal('LAB_RUN_STATE');
    expect(error.message).to.match(/segment 0 in .* was written in an earlier format/);
    expect(await ask(db, 'SELECT count(*) FROM segments')).to.deep.equal(['0']);
  });

  it('loses and doubles no row, wherever it is interrupted', async function () {
    this.timeout(120_000);
    await writeSegments(folder(), [...synthesize({ records: RECORDS })], SEGMENT_BYTES);
    const whole = path.join(folder(), 'whole.db');
    const { segments } = await loadFolder(folder(), whole);
    expect(segments).to.be.greaterThan(5);
    // A folder to which the segments come one by one, each loaded by an inserter that knows nothing of the last one.
    const pieces = path.join(folder(), 'pieces');
    const db = path.join(folder(), 'pieces.db');
    await mkdir(path.join(pieces, 'segments'), { recursive: true });
    for (let number = 0; number < segments; number++) {
      const name = path.join('segments', segmentName(number));
      await copyFile(path.join(folder(), name), path.join(pieces, name));
      expect((await loadFolder(pieces, db, { isEnd: false })).segments).to.equal(1);
    }
    await loadFolder(folder(), db);
    expect(await dump(db)).to.deep.equal(await dump(whole));
    const [counts = ''] = await ask(
      db,
      'SELECT (SELECT sum(records) FROM segments), (SELECT count(*) FROM events) + (SELECT count(*) FROM events WHERE duration_ns IS NOT NULL) + (SELECT count(*) FROM effects)',
    );
    const [records, rows] = counts.split(' ');
    expect(rows).to.equal(records);
    expect(Number(records)).to.be.at.least(RECORDS);
  });

  it('follows a folder: a segment is loaded once it is sealed, the last one at the end', async () => {
    const writer = await SegmentWriter.create({
      folder: path.join(folder(), 'segments'),
      now: () => FIRST_NS,
      limitBytes: 300,
    });
    const append = (nr: number) => writer.append(b.subbuf([b.entry(nr, [1, 2, 3, 4, 5, 6])], { number: BigInt(nr) }));
    await append(0);
    await append(1);
    const db = path.join(folder(), 'index.db');
    const store = await SqliteStore.open(db, storeContext);
    try {
      const load = new Load(store, storeContext.signal);
      const seen: number[] = [];
      const sources = async () => {
        seen.push(load.sum.segments);
        if (seen.length === 2) await append(2);
        return { traces: await findTraces(folder(), 'run', async () => seen.length < 4), mayCome: false };
      };
      await loadAll(load, store, sources, true, storeContext.signal);
      // Segment 0 was sealed when 1 began, and 1 when 2 began; 2 never was.
      expect([...seen, load.sum.segments]).to.deep.equal([0, 1, 2, 2, 3]);
    } finally {
      await store.close();
      await writer.abandon();
    }
    expect(await ask(db, 'SELECT what FROM event_list ORDER BY id')).to.deep.equal(['read', 'write', 'open']);
    expect(await ask(db, 'SELECT number, is_sealed FROM segments')).to.deep.equal(['0 1', '1 1', '2 0']);
  });

  it('refuses a database that holds another boot under the name', async () => {
    const db = path.join(folder(), 'index.db');
    await writeSegments(path.join(folder(), '1'), [b.subbuf([b.entry(0)])]);
    await writeSegments(path.join(folder(), '2'), [b.subbuf([b.entry(0)], { bootId: 5n })]);
    await loadFolder(path.join(folder(), '1'), db);
    const error = await loadFolder(path.join(folder(), '2'), db).catch((e: unknown) => e);
    expect(String(error)).to.match(/is boot 1122334455667788 there, and boot 0000000000000005/);
  });

  it('finds the boots of the machines of a server', async () => {
    const db = path.join(folder(), 'index.db');
    await writeSegments(path.join(folder(), 'machines/web/boots/aa'), [b.subbuf([b.entry(0)])]);
    await writeSegments(path.join(folder(), 'machines/web/boots/bb'), [b.subbuf([b.entry(1)], { bootId: 5n })]);
    await writeSegments(path.join(folder(), 'machines/db/boots/cc'), [b.subbuf([b.entry(2)], { bootId: 6n })]);
    await loadFolder(folder(), db);
    expect(
      await ask(db, 'SELECT t.name, e.what FROM event_list e JOIN traces t ON t.id = e.trace ORDER BY t.name'),
    ).to.deep.equal(['db/cc open', 'web/aa read', 'web/bb write']);
  });

  it('leaves the unsealed end of a trace that grows, and loads it whole later', async () => {
    const writer = await SegmentWriter.create({ folder: path.join(folder(), 'segments'), now: () => FIRST_NS });
    const append = (nr: number) => writer.append(b.subbuf([b.entry(nr)], { number: BigInt(nr) }));
    const db = path.join(folder(), 'index.db');
    await append(0);
    expect((await loadFolder(folder(), db, { isEnd: false })).segments).to.equal(0);
    await append(1);
    await writer.close();
    // Its one sub-buffer waits for a later one; nothing is lost when there is none.
    expect((await loadFolder(folder(), db, { isEnd: false })).segments).to.equal(1);
    expect((await loadFolder(folder(), db)).segments).to.equal(0);
    expect(await ask(db, 'SELECT what FROM event_list ORDER BY id')).to.deep.equal(['read', 'write']);
  });

  it('says so when a segment was taken for whole, and was not', async () => {
    const writer = await SegmentWriter.create({ folder: path.join(folder(), 'segments'), now: () => FIRST_NS });
    const append = (nr: number) => writer.append(b.subbuf([b.entry(nr)], { number: BigInt(nr) }));
    const db = path.join(folder(), 'index.db');
    await append(0);
    await loadFolder(folder(), db);
    await append(1);
    await writer.close();
    const error = await loadFolder(folder(), db).catch((e: unknown) => e);
    expect(String(error)).to.match(/segment 0 of 'run' was loaded before its end/);
  });

  it('ends a trace that grows no more, while the folder is followed', async () => {
    await writeSegments(path.join(folder(), 'boots/aa'), [b.subbuf([b.entry(0)])]);
    const db = path.join(folder(), 'index.db');
    const store = await SqliteStore.open(db, storeContext);
    const over = new AbortController();
    try {
      let passes = 0;
      const sources = async () => {
        if (++passes === 3) over.abort();
        const traces = await findTraces(folder(), 'web', async () => passes < 2);
        return { traces, mayCome: true };
      };
      const load = new Load(store, storeContext.signal);
      const error = await loadAll(load, store, sources, true, over.signal).catch((e: unknown) => e);
      expect(String(error)).to.match(/indexing/);
    } finally {
      await store.close();
    }
    expect(await ask(db, 'SELECT what FROM event_list')).to.deep.equal(['read']);
  });

  it('takes an effect once, wherever the other one is', async () => {
    const effects = (...numbers: bigint[]) => numbers.map((seq) => b.nop(seq));
    const far = 2n ** 64n - 3n;
    const db = path.join(folder(), 'index.db');
    await writeSegments(folder(), [
      b.subbuf(effects(1n, 2n, 2n, far), { number: 0n, monoNs: 1n }),
      b.subbuf(effects(5n, 3n, far, 4n), { number: 1n, monoNs: 2n }),
      b.subbuf(effects(4n, 6n), { number: 2n, monoNs: 2n ** 33n }),
    ]);
    // The index that looks them up is made at the first doubt, not only when the first load is done.
    const first = await SqliteStore.open(db, storeContext);
    await new Load(first, storeContext.signal).pass(await findTraces(folder(), 'run', async () => true));
    const made = await first.select("SELECT name FROM sqlite_master WHERE name = 'effects_trace_seq'");
    await first.close();
    expect(made).to.have.length(1);
    await loadFolder(folder(), db);
    expect(await ask(db, 'SELECT seq FROM effects ORDER BY seq')).to.deep.equal(['-3', '1', '2', '3', '4', '5', '6']);
    expect((await ask(db, "SELECT detail FROM problems WHERE kind = 'doubled'")).sort()).to.deep.equal(
      [2n, 4n, far].map((seq) => `effect ${seq} is there twice: this one is left out`).sort(),
    );
  });

  it('loads boots that grow side by side by turns, as if each time another inserter began', async () => {
    const ROUNDS = 5n;
    const names = ['aa', 'bb', 'cc'];
    const writers = await Promise.all(
      names.map((name) => {
        const segments = path.join(folder(), 'boots', name, 'segments');
        return SegmentWriter.create({ folder: segments, limitBytes: 1, now: () => FIRST_NS });
      }),
    );
    /** A call that ends in the next round, a text of its own, an effect, and a process. */
    const records = (round: bigint, boot: bigint) => [
      ...(round === 0n
        ? [b.mount('MOUNT', { seq: 1n, ino: 2n, gen: 0, dev: DEV }, 'ext4', '/dev/vda')]
        : [b.exit(OPENAT, 3)]),
      b.dentry('MKDIR', {
        seq: 2n + round,
        ino: 20n + round,
        name: `d${round}`,
        dir: b.dirAttr(),
        child: b.attr({ ino: 20n + round, mode: 0o40755 }),
      }),
      b.entry(OPENAT, [-100, 0, 0, 0], [b.tlv('PATH', `/boot${boot}/${round}`, { arg: 1 })]),
      b.entry(Number(round), [], [], { tid: 1000 + Number(round) }),
    ];
    const files = ['one.db', 'others.db'].map((file) => path.join(folder(), file));
    const stores = await Promise.all(files.map((file) => SqliteStore.open(file, storeContext)));
    try {
      const [one, others] = stores as [SqliteStore, SqliteStore];
      const follower = new Load(one, storeContext.signal);
      for (let round = 0n; round <= ROUNDS; round++) {
        for (const [i, writer] of writers.entries()) {
          const header = { number: round, bootId: BigInt(i), monoNs: 5_000_000_000n * round + 1n };
          if (round === ROUNDS) await writer.close();
          else await writer.append(b.subbuf(records(round, BigInt(i)), header));
        }
        for (const load of [follower, new Load(others, storeContext.signal)])
          await load.pass(await findTraces(folder(), 'web', async () => round < ROUNDS));
      }
    } finally {
      for (const store of stores) await store.close();
    }
    const [one = '', others = ''] = files;
    const rows = await dump(one);
    expect(rows).to.deep.equal(await dump(others));
    expect(await ask(one, 'SELECT trace, count(*) FROM effects GROUP BY trace')).to.deep.equal(['1 6', '2 6', '3 6']);
    const calls = "SELECT count(*) FROM event_list WHERE what = 'openat' AND result = 3";
    expect(await ask(one, calls)).to.deep.equal(['12']);
  });

  it('goes on where another process has gone on meanwhile', async () => {
    const ROUNDS = 6;
    const segments = path.join(folder(), 'boots/aa/segments');
    const writer = await SegmentWriter.create({ folder: segments, limitBytes: 1, now: () => FIRST_NS });
    const [alone, shared] = ['alone.db', 'shared.db'].map((file) => path.join(folder(), file)) as [string, string];
    const stores = await Promise.all([alone, shared, shared].map((file) => SqliteStore.open(file, storeContext)));
    try {
      const [single, ...pair] = stores.map((store) => new Load(store, storeContext.signal));
      for (let round = 0; round <= ROUNDS; round++) {
        const call = [b.exit(OPENAT, 3), b.entry(OPENAT, [], [b.tlv('PATH', `/${round}`, { arg: 1 })], { tid: 100 })];
        if (round === ROUNDS) await writer.close();
        else
          await writer.append(b.subbuf(call, { number: BigInt(round), monoNs: 5_000_000_000n * BigInt(round) + 1n }));
        for (const load of [single, pair[round % 2], pair[0]])
          await load?.pass(await findTraces(folder(), 'web', async () => round < ROUNDS));
      }
    } finally {
      for (const store of stores) await store.close();
    }
    expect(await dump(shared)).to.deep.equal(await dump(alone));
  });

  it('leaves a trace alone that was loaded to its end', async () => {
    await writeSegments(folder(), [b.subbuf([b.entry(0)])]);
    const db = path.join(folder(), 'index.db');
    const store = await SqliteStore.open(db, storeContext);
    try {
      let begun = 0;
      const begin = store.begin.bind(store);
      store.begin = () => {
        begun++;
        return begin();
      };
      const seen: number[] = [];
      for (const isGrowing of [true, false, false]) {
        await new Load(store, storeContext.signal).pass(await findTraces(folder(), 'run', async () => isGrowing));
        seen.push(begun);
      }
      // A segment, what waited of it, nothing.
      expect(seen).to.deep.equal([1, 2, 2]);
    } finally {
      await store.close();
    }
    expect(await ask(db, 'SELECT what FROM event_list')).to.deep.equal(['read']);
  });

  it('makes its tables in a file whose maker was killed before it had any', async () => {
    await writeSegments(folder(), [b.subbuf([b.entry(0)])]);
    const file = path.join(folder(), 'index.db');
    const killed = await Db.open({ file }, storeContext);
    await killed.exec('PRAGMA journal_mode = WAL');
    await killed.close();
    expect((await stat(file)).size).to.be.above(0);
    await loadFolder(folder(), file);
    expect(await ask(file, 'SELECT what FROM event_list')).to.deep.equal(['read']);
  });

  it('leaves no trace out because somebody else holds the database, and says why it ends', async () => {
    await writeSegments(path.join(folder(), 'boots/aa'), [b.subbuf([b.entry(0)])]);
    const file = path.join(folder(), 'index.db');
    const store = await SqliteStore.open(file, storeContext);
    const other = await Db.open({ file }, storeContext);
    const leftOut: string[] = [];
    const load = new Load(store, storeContext.signal, { onLeftOut: ({ name }) => leftOut.push(name) });
    const pass = async () => load.pass(await findTraces(folder(), 'web', async () => false));
    try {
      await store.select('PRAGMA busy_timeout = 1');
      await other.exec('BEGIN IMMEDIATE');
      expect((await failureOf(pass())).message).to.contain('another process holds the database');
      await other.exec('ROLLBACK');
      await pass();
      expect(leftOut).to.deep.equal([]);

      // SQLite may have rolled back by itself: what says so is not the fault.
      await writeSegments(path.join(folder(), 'boots/bb'), [b.subbuf([b.entry(1)])]);
      store.insertRows = async () => {
        await store.rollback();
        throw new LabError('LAB_ENV_DISK_FULL', 'no space');
      };
      expect((await failureOf(pass())).code).to.equal('LAB_ENV_DISK_FULL');
    } finally {
      await other.close();
      await store.close();
    }
  });

  it('loads the others of a fleet when one can not be', async () => {
    const boots = path.join(folder(), 'machines/web/boots');
    await writeSegments(path.join(boots, 'aa'), [b.subbuf([b.entry(0)])]);
    const db = path.join(folder(), 'index.db');
    await loadFolder(folder(), db);
    await rm(path.join(boots, 'aa'), { recursive: true });
    await writeSegments(path.join(boots, 'aa'), [b.subbuf([b.entry(0)], { bootId: 5n })]);
    await writeSegments(path.join(boots, 'bb'), [b.subbuf([b.entry(1)], { bootId: 6n })]);
    const store = await SqliteStore.open(db, storeContext);
    const out: string[] = [];
    const mayGrow = async (dir: string) => {
      if (dir.endsWith('cc')) throw new LabError('LAB_RUN_CORRUPT', 'run.json is not JSON');
      return false;
    };
    await writeSegments(path.join(boots, 'cc'), [b.subbuf([b.entry(2)], { bootId: 7n })]);
    try {
      const load = new Load(store, storeContext.signal, {
        onLeftOut: ({ name }, { code }) => out.push(`${name} ${code}`),
      });
      for (let pass = 0; pass < 2; pass++) await load.pass(await findTraces(folder(), 'run', mayGrow));
    } finally {
      await store.close();
    }
    expect(out).to.deep.equal(['web/aa LAB_RUN_STATE', 'web/cc LAB_RUN_CORRUPT']);
    expect(await ask(db, 'SELECT what FROM event_list ORDER BY id')).to.deep.equal(['read', 'write']);
  });
});

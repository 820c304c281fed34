// SPDX-License-Identifier: MIT
/**
 * Committed segment bytes in, committed text out. `UPDATE_GOLDEN=1` writes both anew: the segment from the builder,
 * the text from the decoder. The bytes are committed so that a change of builder and decoder alike is still seen.
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { eventsOf, eventToJson } from '../../lab/trace/events.js';
import { toJsonValue } from '../../lab/trace/json.js';
import { partOf } from '../../lab/trace/parts.js';
import { statsOf } from '../../lab/trace/stats.js';
import { collect, writeSegments } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

const FOLDER = fileURLToPath(new URL('./decoder/', import.meta.url));
const UPDATE = process.env.UPDATE_GOLDEN === '1';

/** One of every kind and every opcode, odd names, three CPUs, a part of a fourth, a loss, an unknown kind, bodies that do not fit. */
function everything(): Buffer[] {
  const dir = b.dirAttr({ ino: 20n, gen: 3 });
  const at = (seq: bigint, dt: number): { seq: bigint; dt: number } => ({ seq, dt });
  const cpu0 = [
    b.info('release=6.12.0-lemona\ncmdline=lemona.start=1\n', { tid: 0 }),
    b.start(1n, '6.12.0-lemona', { tid: 0, dt: 1 }),
    b.task({ tid: 1, tgid: 1, parent_tgid: 0, comm: 'init' }, { tid: 0, code: FLAG.TASK_PRESENT, dt: 2 }),
    b.task(
      { tid: 2, tgid: 2, parent_tgid: 0, task_flags: FLAG.TASK_F_KTHREAD, comm: 'kthreadd' },
      { tid: 0, code: FLAG.TASK_PRESENT, dt: 2 },
    ),
    b.mount('MOUNT', { ...at(2n, 3), ino: 2n, gen: 0 }, 'ext4', '/dev/vda'),
    b.task(
      { tid: 100, tgid: 100, parent_tgid: 1, uid: 1000, gid: 1000, euid: 1000, egid: 1000, comm: 'init' },
      { tid: 1, dt: 10 },
    ),
    b.exec('/bin/sh', { uid: 1000, gid: 1000, euid: 1000, egid: 1000, comm: 'sh' }, { dt: 20 }),
    b.entry(
      59,
      [0x7fff_0000_1000n, 0x7fff_0000_2000n, 0],
      [b.tlv('PATH', '/bin/sh'), b.tlv('STRV', 'sh\0-c\0echo "hi"\0', { arg: 1 })],
      { dt: 21 },
    ),
    b.exit(59, 0, [], { dt: 22 }),
    b.dentry('MKDIR', {
      ...at(3n, 30),
      ino: 20n,
      gen: 3,
      name: 'home',
      child: b.attr({ ino: 20n, gen: 3, mode: 0o40755, nlink: 2 }),
    }),
    b.dentry('CREATE', { ...at(4n, 31), name: Buffer.from('n\x1b[2J\xff', 'latin1'), dir }),
    b.write(at(5n, 32), 2n ** 40n, 'content with a \0 zero'),
    b.write(at(6n, 33), 4096n, Buffer.alloc(100, 0x61), 'PAGE'),
    b.setattr(at(7n, 34), FLAG.VALID_MODE | FLAG.VALID_UID | FLAG.VALID_SIZE, b.attr({ mode: 0o104755, size: 7n })),
    b.setattr(at(8n, 35), 0),
    b.dentry('SYMLINK', {
      ...at(9n, 36),
      ino: 13n,
      name: 'link',
      extra: '../target',
      dir,
      child: b.attr({ ino: 13n, mode: 0o120777 }),
    }),
    b.dentry('MKNOD', {
      ...at(10n, 37),
      ino: 14n,
      name: 'null',
      dir,
      child: b.attr({ ino: 14n, mode: 0o20666, rdev: 0x103 }),
    }),
    b.dentry('TMPFILE', { ...at(11n, 38), ino: 15n, name: '', child: b.attr({ ino: 15n, nlink: 0 }) }),
    b.dentry('LINK', { ...at(12n, 39), ino: 15n, name: 'now-named', dir }),
    b.rename({
      ...at(13n, 40),
      oldName: 'n',
      newName: 'm',
      oldDir: dir,
      target: b.attr({ ino: 16n, nlink: 0 }),
      renameFlags: 1,
    }),
    b.fallocate(at(14n, 41), 3, 4096n, 8192n),
    b.xattr(at(15n, 42), FLAG.XATTR_USER, 'colour', 'blue'),
    b.xattr(at(16n, 43), FLAG.XATTR_SECURITY, 'capability', null),
    b.dentry('UNLINK', { ...at(17n, 44), ino: 15n, name: 'now-named', dir, child: b.attr({ ino: 15n, nlink: 0 }) }),
    b.gone({ ...at(18n, 45), ino: 15n }),
    b.dentry('RMDIR', { ...at(19n, 46), ino: 21n, name: 'empty', dir }),
  ];
  const cpu1 = [
    b.switchTo(100, { tid: 0, dt: 0 }),
    b.fault({ index: 3n, address: 0x7f00_dead_b000n }, { dt: 5 }),
    b.cred({ uid: 0, gid: 0, euid: 0, egid: 0, suid: 0, sgid: 0, fsuid: 0, fsgid: 0 }, { dt: 6 }),
    b.entry(
      44,
      [3, 4096, 5, 0, 4096, 16],
      [
        b.tlv('BUF_IN', 'hello', { arg: 1, flags: FLAG.TLV_F_UNSTABLE }),
        b.tlv('SOCKADDR', Buffer.from([2, 0, 0, 80, 10, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]), { arg: 4 }),
      ],
      { dt: 7 },
    ),
    b.exit(44, -32, [], { dt: 8 }),
    b.entry(
      46,
      [3, 4096, 0],
      [
        b.tlv('STRUCT', Buffer.alloc(56), { arg: 1 }),
        b.tlv('SOCKADDR', Buffer.from('\x01\x00/run/socket\x00'), { arg: 1 }),
        b.tlv('IOVEC', 'two parts', { arg: 1, trueLen: 90, flags: FLAG.TLV_F_TRUNCATED }),
        b.tlv('CONTROL', Buffer.from([20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]), { arg: 1 }),
      ],
      { flags: FLAG.F_CUT, dt: 8 },
    ),
    b.entry(16, [0, 0x5412, 4096], [b.tlv('STRUCT', 'w', { arg: 2 })], { dt: 8 }),
    b.entry(4, [1, 4096, 3], [b.tlv('BUF_IN', '', { arg: 1, trueLen: 3, flags: FLAG.TLV_F_FAULT })], {
      flags: FLAG.F_ABI_IA32,
      dt: 9,
    }),
    b.entry(400, [1, 2, 3, 4, 5, 6], [], { flags: FLAG.F_DENIED, dt: 10 }),
    b.mark(20n, 'after-work', { dt: 20 }),
    b.taint({ ...at(21n, 21), ino: 0n }, FLAG.TAINT_RAW_WRITE, 'dd'),
    b.loss(FLAG.LOSS_ALLOC, { seq_first: 22n, seq_last: 23n, effects: 2, records: 5 }, { dt: 22 }),
    b.lost(
      {
        seq_first: 22n,
        seq_last: 23n,
        what: FLAG.LOST_CONTENT | FLAG.LOST_TIMES,
        effects: 2,
        pos: 4096n,
        len: 100n,
      },
      { dt: 22 },
    ),
    b.lost({ seq_first: 22n, seq_last: 22n, ino: 0n, gen: 0, dev: 0, what: 0 }, { dt: 22 }),
    b.uring(FLAG.URING_SUBMIT, 18, {}, [
      b.tlv('STRUCT', Buffer.alloc(64, 0x12)),
      b.tlv('PATH', '/tmp/new', { arg: 1 }),
    ]),
    b.uring(FLAG.URING_ISSUE, 18, { euid: 1000, egid: 1000 }),
    b.uring(FLAG.URING_COMPLETE, 18, { result: -13 }),
    b.nop(24n, { dt: 23 }),
    b.mount('UMOUNT', { ...at(25n, 24), ino: 2n, gen: 0 }, 'ext4', ''),
    b.taskExit(0x8b, { dt: 25 }),
  ];
  const cpu2 = [
    b.record(40, Buffer.from('from the future'), { dt: 1 }),
    b.record(9, Buffer.concat([b.write({ seq: 26n }, 0n, 'x').subarray(16, 40), Buffer.alloc(8)]), { code: 99, dt: 2 }),
    b.record(5, Buffer.alloc(8), { dt: 3 }),
  ];
  const cpu3 = [
    b.switchTo(100, { tid: 0, dt: 0 }),
    b.entry(41, [2, 1, 0], [], { flags: FLAG.F_SOCKET, dt: 1 }),
    b.exit(41, 3, [], { flags: FLAG.F_SOCKET, dt: 2 }),
    b.nop(27n, { dt: 3 }),
  ];
  return [
    b.subbuf(cpu0, { cpu: 0, monoNs: 5_000_000_000n }),
    b.subbuf(cpu1, {
      cpu: 1,
      monoNs: 5_000_000_050n,
      realNs: 1_700_000_000_000_000_050n,
      issued: BigInt(cpu1.length + 5),
      dropped: 5n,
    }),
    b.subbuf(cpu2, { cpu: 2, monoNs: 5_000_000_100n, realNs: 1_700_000_000_000_000_100n }),
    partOf(b.subbuf(cpu3, { cpu: 3, monoNs: 5_000_000_200n, realNs: 1_700_000_000_000_000_200n }), 'disk'),
  ];
}

async function compare(name: string, text: string): Promise<void> {
  const path = join(FOLDER, name);
  if (UPDATE) await writeFile(path, text);
  expect(text).to.equal(await readFile(path, 'utf8'));
}

describe('decoder golden files', () => {
  let runDir = '';

  before(async () => {
    runDir = await mkdtemp(join(tmpdir(), 'lemona-golden-'));
    if (UPDATE) {
      await writeSegments(runDir, everything());
      await mkdir(FOLDER, { recursive: true });
      await cp(join(runDir, 'segments', '000000.seg'), join(FOLDER, 'everything.seg'));
    } else {
      await mkdir(join(runDir, 'segments'));
      await cp(join(FOLDER, 'everything.seg'), join(runDir, 'segments', '000000.seg'));
    }
  });

  after(async () => {
    await rm(runDir, { recursive: true, force: true });
  });

  it('give the same lines', async () => {
    const events = [];
    // A line is made while the event is current: later records change who and where.
    for await (const event of eventsOf(runDir)) events.push(event.line);
    await compare('everything.events.txt', `${events.join('\n')}\n`);
  });

  it('give the same JSON', async () => {
    const lines = [];
    for await (const event of eventsOf(runDir)) lines.push(JSON.stringify(eventToJson(event)));
    await compare('everything.events.jsonl', `${lines.join('\n')}\n`);
  });

  it('give the same statistics', async () => {
    await compare('everything.stats.txt', `${JSON.stringify(toJsonValue(await statsOf(runDir)), null, 1)}\n`);
  });

  it('hold one of every kind of record and every effect', async () => {
    const seen = new Set(
      (await collect(eventsOf(runDir))).map((e) => (e.record.kind === 'effect' ? e.record.effect.op : e.record.kind)),
    );
    for (const word of [
      'entry',
      'exit',
      'switch',
      'task',
      'exec',
      'task_exit',
      'cred',
      'fault',
      'loss',
      'lost',
      'uring',
      'info',
      'unknown',
      'malformed',
      'MALFORMED',
      'WRITE',
      'PAGE',
      'SETATTR',
      'CREATE',
      'MKNOD',
      'MKDIR',
      'SYMLINK',
      'TMPFILE',
      'LINK',
      'UNLINK',
      'RMDIR',
      'RENAME',
      'FALLOCATE',
      'XATTR',
      'GONE',
      'MOUNT',
      'UMOUNT',
      'MARK',
      'NOP',
      'TAINT',
      'START',
    ])
      expect(seen.has(word as never), word).to.equal(true);
  });
});

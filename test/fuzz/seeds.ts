// SPDX-License-Identifier: MIT
/** Small good sub-buffers of one to three records: every kind, every effect. What the mutations begin with. */
import { FLAG } from '../../lab/abi/layout.js';
import * as b from '../support/trace-builder.js';

/** The UUID that the builder gives a mounted file system, and its device. */
export const ROOT_UUID = Buffer.alloc(16, 0xab);
export const ROOT_DEV = 0xfe00;

/** Records of a well-behaved guest; effects are numbered from 1 on. */
function records(): Buffer[][] {
  let last = 0n;
  const seq = (): bigint => ++last;
  const at = (ino: bigint) => ({ seq: seq(), ino, gen: 7 });
  return [
    [b.start(seq()), b.mount('MOUNT', at(2n), 'ext4', '/dev/vda')],
    [b.task({ tid: 100, tgid: 100, parent_tgid: 1, comm: 'bash', uid: 1000 }), b.exec('/bin/bash', { uid: 1000 })],
    [b.entry(257, [-100, 4096, 0], [b.tlv('PATH', '/etc/shadow', { arg: 1 })]), b.exit(257, 3)],
    [b.entry(59, [1, 2, 3], [b.tlv('PATH', '/bin/sh'), b.tlv('STRV', 'sh\0-c\0id\0', { arg: 1 })])],
    [b.entry(1, [3, 4096, 5], [b.tlv('BUF_IN', 'hello', { arg: 1, trueLen: 900, flags: FLAG.TLV_F_TRUNCATED })])],
    [b.exit(0, 5, [b.tlv('BUF_OUT', Buffer.from([0, 27, 91, 255, 10]), { arg: 1 })]), b.switchTo(200)],
    [b.cred({ uid: 0, gid: 0, euid: 0, egid: 0 }), b.fault({ index: 3n, address: 0x7f00n }), b.taskExit(9)],
    [b.dentry('CREATE', { ...at(20n), name: 'tool.sh' }), b.write({ seq: seq(), ino: 20n, gen: 7 }, 0n, '#!/bin/sh\n')],
    [b.dentry('MKDIR', { ...at(21n), name: 'dir', child: b.attr({ ino: 21n, gen: 7, mode: 0o40755, nlink: 2 }) })],
    [
      b.dentry('SYMLINK', { ...at(22n), name: 'sym', extra: '../tool.sh' }),
      b.dentry('LINK', { ...at(20n), name: 'b' }),
    ],
    [b.dentry('MKNOD', { ...at(23n), name: 'fifo', child: b.attr({ ino: 23n, gen: 7, mode: 0o10644 }) })],
    [b.dentry('TMPFILE', { ...at(24n), name: '' }), b.write({ seq: seq(), ino: 24n, gen: 7 }, 4090n, 'page', 'PAGE')],
    [b.rename({ ...at(20n), oldName: 'tool.sh', newName: 'other.sh' })],
    [b.setattr(at(20n), FLAG.VALID_MODE, b.attr({ ino: 20n, gen: 7, mode: 0o104755 })), b.nop(seq())],
    [b.setattr(at(20n), FLAG.VALID_SIZE, b.attr({ ino: 20n, gen: 7, size: 3n })), b.setattr(at(20n), 0)],
    [b.fallocate(at(20n), 3, 4096n, 8192n, b.attr({ ino: 20n, gen: 7 }))],
    [b.xattr(at(20n), FLAG.XATTR_USER, 'key', 'value', b.attr({ ino: 20n, gen: 7 }))],
    [b.xattr(at(20n), FLAG.XATTR_SECURITY, 'capability', null, b.attr({ ino: 20n, gen: 7 }))],
    [b.mark(seq(), 'before'), b.taint(at(20n), FLAG.TAINT_RAW_WRITE, 'a raw write of 512 bytes at 0')],
    [b.dentry('UNLINK', { ...at(20n), name: 'b', child: b.attr({ ino: 20n, gen: 7, nlink: 0 }) }), b.gone(at(20n))],
    [b.dentry('RMDIR', { ...at(21n), name: 'dir', child: b.attr({ ino: 21n, gen: 7, mode: 0o40755, nlink: 0 }) })],
    [b.loss(FLAG.LOSS_NO_BUFFER, { seq_first: last + 1n, seq_last: last + 3n, effects: 3, records: 3 })],
    [b.info('version=1\nconfig=static\n'), b.mount('UMOUNT', at(2n), 'ext4', '/dev/vda')],
  ];
}

/** The records of each frame, in the order of a run. */
export const SEED_RECORDS: readonly (readonly Buffer[])[] = records();

/** The frames, dealt to two streams. */
export const SEED_FRAMES: readonly Buffer[] = (() => {
  const issued = [0n, 0n];
  const numbers = [0n, 0n];
  return SEED_RECORDS.map((list, i) => {
    const cpu = i % 2;
    issued[cpu] = (issued[cpu] ?? 0n) + BigInt(list.length);
    const number = numbers[cpu] ?? 0n;
    numbers[cpu] = number + 1n;
    const time = { monoNs: 1_000_000_000n + BigInt(i) * 1000n, realNs: 1_700_000_000_000_000_000n + BigInt(i) * 1000n };
    return b.subbuf(list, { cpu, number, issued: issued[cpu] ?? 0n, ...time });
  });
})();

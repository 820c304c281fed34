// SPDX-License-Identifier: MIT
/** One line per record, for people and for grep: pure text out of decoded data. */
import type { Attr, Effect, MalformedEffect } from '../abi/effects.js';
import { FLAG, KIND_NAMES } from '../abi/layout.js';
import { uringOpName } from '../abi/uring.js';
import { entryText, exitText, requestText } from './calls.js';
import type { InodeNames } from './names.js';
import type { TraceRecord } from './record.js';
import type { TaskTracker } from './tasks.js';
import { deviceText, displayBytes, isoFromNs, octalMode } from './text.js';
import { quoted } from './values.js';

const LOSS_REASONS: Readonly<Record<number, string>> = {
  [FLAG.LOSS_NO_BUFFER]: 'no buffer',
  [FLAG.LOSS_ALLOC]: 'no memory',
  [FLAG.LOSS_LOSSY]: 'lossy mode',
};

const TAINT_REASONS: Readonly<Record<number, string>> = {
  [FLAG.TAINT_RAW_WRITE]: 'raw block device write',
  [FLAG.TAINT_IOCTL]: 'ioctl that is not recorded',
  [FLAG.TAINT_WHITEOUT]: 'rename whiteout',
  [FLAG.TAINT_WRITE_ERROR]: 'write error',
  [FLAG.TAINT_FS_ERROR]: 'file system error',
  [FLAG.TAINT_MODULE]: 'module',
  [FLAG.TAINT_REGISTERS]: "device's registers",
};

const XATTR_PREFIXES: Readonly<Record<number, string>> = {
  [FLAG.XATTR_USER]: 'user.',
  [FLAG.XATTR_ACL_ACCESS]: 'system.posix_acl_access',
  [FLAG.XATTR_ACL_DEFAULT]: 'system.posix_acl_default',
  [FLAG.XATTR_TRUSTED]: 'trusted.',
  [FLAG.XATTR_SECURITY]: 'security.',
  [FLAG.XATTR_SYSTEM]: 'system.',
  [FLAG.XATTR_GNU]: 'gnu.',
};

/** The full name of an extended attribute from ext4's index and the rest. */
export function xattrName(index: number, rest: Buffer): string {
  return `${XATTR_PREFIXES[index] ?? `index${index}.`}${displayBytes(rest)}`;
}

const VALID_NAMES = [
  [FLAG.VALID_MODE, 'mode', (a: Attr) => octalMode(a.mode)],
  [FLAG.VALID_UID, 'uid', (a: Attr) => a.uid],
  [FLAG.VALID_GID, 'gid', (a: Attr) => a.gid],
  [FLAG.VALID_SIZE, 'size', (a: Attr) => a.size],
  [FLAG.VALID_ATIME, 'atime', (a: Attr) => isoFromNs(a.atime.sec * 1_000_000_000n + BigInt(a.atime.nsec))],
  [FLAG.VALID_MTIME, 'mtime', (a: Attr) => isoFromNs(a.mtime.sec * 1_000_000_000n + BigInt(a.mtime.nsec))],
  [FLAG.VALID_CTIME, 'ctime', (a: Attr) => isoFromNs(a.ctime.sec * 1_000_000_000n + BigInt(a.ctime.nsec))],
  [FLAG.VALID_FSFLAGS, 'flags', (a: Attr) => `0x${a.flags.toString(16)}`],
] as const;

function effectText(effect: Effect | MalformedEffect, names: InodeNames | undefined): string {
  const path = names?.paths(effect)[0] ?? `#${effect.ino}`;
  const at = `${path} (${deviceText(effect.dev)} ${effect.ino}.${effect.gen})`;
  switch (effect.op) {
    case 'WRITE':
    case 'PAGE':
      return `${at} pos=${effect.pos} len=${effect.len}`;
    case 'SETATTR': {
      const changes = VALID_NAMES.filter(([bit]) => (effect.valid & bit) !== 0).map(
        ([, n, get]) => `${n}=${get(effect.attr)}`,
      );
      return `${at} ${changes.length > 0 ? changes.join(' ') : 'times'}`;
    }
    case 'RENAME': {
      const target = effect.target.ino === 0n ? '' : ` over #${effect.target.ino}`;
      const flags = effect.renameFlags === 0 ? '' : ` flags=${effect.renameFlags}`;
      return `${at} #${effect.oldDir.ino}/${quoted(effect.oldName)} -> #${effect.newDir.ino}/${quoted(effect.newName)}${target}${flags}`;
    }
    case 'FALLOCATE':
      return `${at} mode=${effect.mode} offset=${effect.offset} len=${effect.len}`;
    case 'XATTR':
      return `${at} ${xattrName(effect.nameIndex, effect.name)}${effect.value === null ? ' removed' : `=${quoted(effect.value)}`}`;
    case 'GONE':
      return at;
    case 'NOP':
      return '';
    case 'MOUNT':
    case 'UMOUNT':
      return `${displayBytes(effect.type)}${effect.source.length > 0 ? ` ${quoted(effect.source)}` : ''} dev=${deviceText(effect.dev)} uuid=${effect.uuid.toString('hex')}`;
    case 'MARK':
      return quoted(effect.label);
    case 'TAINT':
      return `${TAINT_REASONS[effect.reason] ?? `reason ${effect.reason}`}: ${quoted(effect.text)}`;
    case 'START':
      return quoted(effect.text);
    case 'MALFORMED':
      return `${at} ${effect.why}`;
    default: {
      const extra = effect.extra.length > 0 ? ` -> ${quoted(effect.extra)}` : '';
      const { child } = effect;
      return `${at} ${quoted(effect.name)}${extra} mode=${octalMode(child.mode)} uid=${child.uid} gid=${child.gid} nlink=${child.nlink}`;
    }
  }
}

const LOST_NAMES = [
  [FLAG.LOST_CONTENT, 'content'],
  [FLAG.LOST_TIMES, 'times'],
  [FLAG.LOST_ATTR, 'attributes'],
  [FLAG.LOST_XATTR, 'xattrs'],
  [FLAG.LOST_ENTRIES, 'entries'],
  [FLAG.LOST_PLACE, 'names'],
] as const;

function lostObject({ ino, gen, dev }: { ino: bigint; gen: number; dev: number }): string {
  if (ino !== 0n) return `${deviceText(dev)} ${ino}.${gen}`;
  return dev === 0 ? 'any file system' : `any inode of ${deviceText(dev)}`;
}

function credText(c: { uid: number; gid: number; euid: number; egid: number }): string {
  return `uid=${c.uid} gid=${c.gid} euid=${c.euid} egid=${c.egid}`;
}

function waitStatusText(status: number): string {
  const signal = status & 0x7f;
  return signal === 0 ? `exit ${(status >>> 8) & 0xff}` : `signal ${signal}`;
}

/** What happened, without when and who. */
export function describeRecord(record: TraceRecord, names?: InodeNames): string {
  switch (record.kind) {
    case 'entry':
      return entryText(record);
    case 'exit':
      return exitText(record);
    case 'switch':
      return `to ${record.nextTid} state=${record.prevState}`;
    case 'task':
      return `${record.isFork ? 'born' : 'present'} tid=${record.taskTid} tgid=${record.tgid} parent=${record.parentTgid} ${credText(record)} ${quoted(record.comm)}${record.isKernelThread ? ' kernel' : ''}${record.isThread ? ' thread' : ''}`;
    case 'exec':
      return `${quoted(record.path)} ${credText(record)}`;
    case 'task_exit':
      return waitStatusText(record.status);
    case 'cred':
      return `${credText(record)} suid=${record.suid} sgid=${record.sgid} fsuid=${record.fsuid} fsgid=${record.fsgid}`;
    case 'fault':
      return `${names?.path(record.dev, record.ino, record.gen) ?? `#${record.ino}`} page=${record.index} address=0x${record.address.toString(16)}`;
    case 'effect':
      return effectText(record.effect, names);
    case 'loss':
      return `${record.records} records, ${record.effects} effects (${record.seqFirst} to ${record.seqLast}): ${LOSS_REASONS[record.reason] ?? `reason ${record.reason}`}`;
    case 'lost': {
      const what = LOST_NAMES.filter(([bit]) => (record.what & bit) !== 0).map(([, name]) => name);
      const range = (record.what & FLAG.LOST_CONTENT) === 0 ? '' : ` pos=${record.pos} len=${record.len}`;
      return `${record.effects} effects (${record.seqFirst} to ${record.seqLast}) on ${lostObject(record)}: ${what.join(' ') || 'nothing'}${range}`;
    }
    case 'uring': {
      const request = `${uringOpName(record.opcode)} ring=${record.ring.toString(16)} user_data=0x${record.userData.toString(16)}`;
      if (record.phase === 'complete') return `${record.phase} ${request} = ${record.result}`;
      return `${record.phase} ${request} euid=${record.euid}${requestText(record.opcode, record.captures)}`;
    }
    case 'part':
      return `of ${record.records} records, ${record.effects} of them effects, in ${record.length} bytes`;
    case 'elsewhere':
      return `${record.records} records in ${record.bytes} bytes are in the part of another category`;
    case 'info':
      return displayBytes(record.text).replaceAll('\\x0a', ' ');
    case 'unknown':
      return `kind ${record.kindNumber}, ${record.size} bytes`;
    case 'malformed':
      return `${KIND_NAMES[record.kindNumber] ?? record.kindNumber}: ${record.why}`;
  }
}

/** The word in the kind column: the operation for effects, else the kind. */
export function kindWord(record: TraceRecord): string {
  return record.kind === 'effect' ? record.effect.op : record.kind.toUpperCase();
}

/** Time, number, CPU, who, what: one line without an end. */
export function renderRecord(record: TraceRecord, tasks?: TaskTracker, names?: InodeNames): string {
  const seq = record.kind === 'effect' ? String(record.effect.seq) : '-';
  const task = tasks?.get(record.tid);
  const who = task ? `${displayBytes(Buffer.from(task.comm, 'latin1'))}[${task.tgid}]` : '?';
  const columns = [
    isoFromNs(record.realNs),
    seq.padStart(8),
    `cpu${record.cpu}`,
    String(record.tid).padStart(6),
    who,
    kindWord(record),
  ];
  return `${columns.join(' ')} ${describeRecord(record, names)}`.trimEnd();
}

// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import type { Attr, Effect } from '../../lab/abi/effects.js';
import { FLAG } from '../../lab/abi/layout.js';
import { Analysis } from '../../lab/demo/analyse.js';
import { FileContents } from '../../lab/demo/contents.js';
import { usersOf } from '../../lab/demo/demo.js';
import { Processes } from '../../lab/demo/processes.js';
import { size } from '../../lab/demo/report.js';
import { classOf, isScratch, isSecret } from '../../lab/demo/rules.js';
import type { Story } from '../../lab/demo/story.js';
import type { RootFs } from '../../lab/trace/names.js';
import { decodeRecord, type RecordBody, type TraceRecord } from '../../lab/trace/record.js';
import * as b from '../support/trace-builder.js';

const TIME = { sec: 0n, nsec: 0 };
const head = { seq: 1n, ino: 20n, gen: 7, dev: 65024 };

function attr(change: Partial<Attr> = {}): Attr {
  return {
    ...{ ino: 20n, gen: 7, mode: 0o100644, uid: 0, gid: 0, nlink: 1, rdev: 0, size: 0n, flags: 0, projid: 0 },
    ...{ atime: TIME, mtime: TIME, ctime: TIME, btime: TIME },
    ...change,
  };
}

const create: Effect = {
  ...head,
  op: 'CREATE',
  child: attr(),
  dir: attr({ ino: 2n }),
  name: Buffer.from('f'),
  extra: Buffer.alloc(0),
};
const write = (pos: bigint, text: string): Effect => {
  const data = Buffer.from(text);
  return { ...head, op: 'WRITE', pos, len: data.length, data };
};
const truncate = (bytes: bigint): Effect => ({
  ...head,
  op: 'SETATTR',
  valid: FLAG.VALID_SIZE,
  attr: attr({ size: bytes }),
});

function contentOf(...effects: Effect[]): string | undefined {
  const contents = new FileContents();
  for (const effect of effects) contents.observe(effect);
  return contents.get(head.dev, head.ino, head.gen)?.toString('latin1');
}

describe('contents of deleted files from the record alone', () => {
  it('follows writes, overwrites, holes and truncation', () => {
    expect(contentOf(create, write(0n, 'hello'), write(5n, ' world'))).to.equal('hello world');
    expect(contentOf(create, write(0n, 'hello'), write(1n, 'a'))).to.equal('hallo');
    expect(contentOf(create, write(3n, 'x'))).to.equal('\0\0\0x');
    expect(contentOf(create, write(0n, 'hello'), truncate(2n), truncate(4n))).to.equal('he\0\0');
  });

  it('takes writes that came shortly before the birth', () => {
    expect(contentOf(write(0n, 'early'), create)).to.equal('early');
  });

  it('claims nothing about a file that was not born in the record, is too large, or is gone', () => {
    expect(contentOf(write(0n, 'a piece'))).to.equal(undefined);
    expect(contentOf(create, write(40_000n, 'x'), write(0n, 'y'))).to.equal(undefined);
    expect(contentOf(create, write(0n, 'x'), { ...head, op: 'GONE' })).to.equal(undefined);
    const punch: Effect = { ...head, op: 'FALLOCATE', mode: 3, offset: 0n, len: 1n, attr: attr() };
    expect(contentOf(create, write(0n, 'x'), punch)).to.equal(undefined);
  });
});

describe('sessions', () => {
  const base = { cpu: 0, code: 0, flags: 0, monoNs: 0n, realNs: 0n, size: 0 };
  const root = { uid: 0, gid: 0, euid: 0, egid: 0 };
  const fork = (parentTgid: number, tgid: number): TraceRecord => ({
    ...base,
    tid: parentTgid,
    kind: 'task',
    isFork: true,
    taskTid: tgid,
    tgid,
    parentTgid,
    isKernelThread: false,
    isThread: false,
    comm: Buffer.from('sh'),
    ...root,
  });
  const of = (tid: number, body: RecordBody): TraceRecord => ({ ...base, tid, ...body });
  const cred = (tid: number, uid: number, euid: number) =>
    of(tid, { kind: 'cred', uid, euid, gid: 0, egid: 0, suid: euid, sgid: 0, fsuid: euid, fsgid: 0 });
  const exec = (tid: number, comm: string, uid: number, euid: number) =>
    of(tid, {
      ...{ kind: 'exec', tgid: tid, ino: 1n, gen: 0, dev: 0, gid: 0, egid: 0 },
      ...{ uid, euid, comm: Buffer.from(comm), path: Buffer.from(`/bin/${comm}`) },
    });

  it('begin where a chain first is not root, and last whatever it becomes', () => {
    const processes = new Processes();
    const story = [
      fork(1, 10),
      fork(10, 11),
      cred(11, 33, 33),
      exec(11, 'bash', 33, 33),
      fork(11, 12),
      exec(12, 'su', 33, 0),
    ];
    for (const record of [...story, cred(12, 1000, 1000), fork(12, 13), exec(13, 'cp', 1000, 1000)])
      processes.observe(record);
    expect(processes.of(10)?.session).to.equal(undefined);
    expect(processes.of(13)?.session).to.equal(processes.of(11)?.session);
    expect(processes.of(13)?.session?.uid).to.equal(33);
    const last = processes.of(13);
    expect(last && Processes.chain(last)).to.equal('bash › su › cp');
  });

  it('go on in a child whose parent is its grandparent', () => {
    const processes = new Processes();
    for (const record of [fork(1, 10), fork(10, 11), cred(11, 33, 33), exec(11, 'evil', 33, 33)])
      processes.observe(record);
    const evil = processes.of(11);
    if (evil === undefined) throw new Error('there is no such process');
    evil.argv = ['evil'];
    // CLONE_PARENT: 11 forks, 10 is the parent.
    processes.observe({ ...fork(10, 12), tid: 11 });
    expect(processes.of(12)).to.deep.include({ session: evil.session, argv: ['evil'], parent: evil });
  });
});

describe('the story', () => {
  const SESSION = { tid: 10, tgid: 10, parent_tgid: 1, uid: 1000, euid: 0, comm: 'sh' };
  const passwd = (nlink: number) => b.attr({ ino: 31n, gen: 1, nlink });
  const dir = (ino: bigint) => b.attr({ ino, mode: 0o40755 });
  const mounted = b.mount('MOUNT', { seq: 1n, ino: 2n, gen: 0 }, 'ext4', '/dev/vda');
  const held: RootFs = {
    uuid: Buffer.alloc(16, 0xab),
    names: [
      { path: '/', ino: 2, gen: 0 },
      { path: '/etc', ino: 30, gen: 1 },
      { path: '/etc/passwd', ino: 31, gen: 1 },
      { path: '/tmp', ino: 40, gen: 1 },
    ],
  };

  /** Records of a process of user 1000's, each at its own time of the wall clock, in seconds. */
  function told(root: RootFs | undefined, records: readonly (readonly [Buffer, number])[]): Story {
    const analysis = new Analysis(root);
    const all: typeof records = [
      [b.task(SESSION, { tid: 1 }), 1],
      [b.cred({ uid: 1000, euid: 0 }, { tid: 10 }), 1],
      ...records,
    ];
    for (const [bytes, seconds] of all)
      analysis.observe(decodeRecord(bytes, 0, { cpu: 0, monoNs: 0n, realNs: BigInt(seconds) * 1_000_000_000n }));
    return analysis.story();
  }
  const lines = (story: Story): string[] => story.findings.map(({ text }) => text);

  it('sees through a link in a scratch place, while it is there and when it is gone', () => {
    const tmp = dir(40n);
    const link = b.dentry('LINK', { seq: 2n, ino: 31n, name: '.x', dir: tmp, child: passwd(2), tid: 10 });
    const write = b.write({ seq: 3n, ino: 31n, tid: 10 }, 0n, 'toor::0:0:::\n');
    const unlink = b.dentry('UNLINK', { seq: 4n, ino: 31n, name: '.x', dir: tmp, child: passwd(1), tid: 10 });
    const changed = 'changed /etc/passwd (accounts): toor::0:0:::';
    expect(
      lines(
        told(
          held,
          [mounted, link, write].map((r) => [r, 1]),
        ),
      ),
    ).to.include(changed);
    expect(
      lines(
        told(
          held,
          [mounted, link, unlink, write].map((r) => [r, 1]),
        ),
      ),
    ).to.include(changed);
  });

  it('knows a file of the image whose number was given out again later', () => {
    const write = b.write({ seq: 2n, ino: 31n, tid: 10 }, 0n, 'toor');
    const gone = b.dentry('UNLINK', { seq: 3n, ino: 31n, name: 'passwd', dir: dir(30n), child: passwd(0), tid: 10 });
    const again = b.dentry('CREATE', { seq: 4n, ino: 31n, gen: 2, name: 'y', dir: dir(40n), tid: 10 });
    const story = lines(
      told(
        held,
        [mounted, write, gone, again].map((r) => [r, 1]),
      ),
    );
    expect(story).to.include('changed /etc/passwd (accounts): toor');
    expect(story).to.include('made 1 file in /tmp: y');
  });

  it('takes no environment for arguments', () => {
    const entry = b.entry(
      59,
      [1, 0, 3],
      [b.tlv('PATH', '/tmp/evil', { arg: 0 }), b.tlv('STRV', 'apt-get\0update\0', { arg: 2 })],
      { tid: 10 },
    );
    const failed = b.entry(59, [1, 2, 3], [b.tlv('STRV', 'ls\0-l\0', { arg: 1 })], { tid: 10 });
    const exec = b.exec('/tmp/evil', { tgid: 10, uid: 1000, comm: 'evil' }, { tid: 10 });
    const taint = b.taint({ seq: 2n, ino: 0n, tid: 10 }, FLAG.TAINT_RAW_WRITE, 'vda');
    const { destruction } = told(
      held,
      [mounted, failed, entry, exec, taint].map((r) => [r, 1]),
    );
    expect(destruction?.text).to.equal('evil wrote to the raw disk');
  });

  it('is in the order of what happened, whatever the clock was set to', () => {
    const first = b.dentry('CREATE', { seq: 2n, ino: 50n, name: 'passwd+', dir: dir(30n), tid: 10 });
    const second = b.dentry('CREATE', { seq: 3n, ino: 51n, name: 'group+', dir: dir(30n), tid: 10 });
    const story = told(held, [
      [mounted, 1],
      [first, 100],
      [second, 50],
    ]);
    expect(lines(story)).to.deep.equal(['created /etc/passwd+ (accounts)', 'created /etc/group+ (accounts)']);
  });
});

describe('rules of the timeline', () => {
  it('know the places that matter', () => {
    expect(classOf('/etc/passwd')).to.equal('accounts');
    expect(classOf('/etc/passwd+')).to.equal('accounts');
    expect(classOf('/etc/passwords')).to.equal(undefined);
    expect(classOf('/etc/cron.d/x')).to.equal('schedule');
    expect(classOf('/var/log/auth.log')).to.equal('log');
    expect(classOf('/usr/lib/.hidden')).to.equal('program');
    expect(classOf('/home/a/.ssh/authorized_keys')).to.equal('login');
    expect(classOf('/srv/www/index.html')).to.equal(undefined);
    expect(isSecret('/root/payroll.csv')).to.equal(true);
    expect(isSecret('/root/.bashrc')).to.equal(false);
    expect(isSecret('/home/b/.ssh/id_ed25519')).to.equal(true);
    expect(isScratch('/var/tmp/x')).to.equal(true);
    expect(isScratch('/var/tmpx')).to.equal(false);
  });

  it('name users as the system would', () => {
    const users = usersOf('root:x:0:0::/root:/bin/sh\nw:x:33:33::/:/bin/false\nsysd::0:0::/root:/bin/bash\nbroken\n');
    expect([...users]).to.deep.equal([
      [0, 'root'],
      [33, 'w'],
    ]);
  });

  it('do not let a user that an intruder added steer the terminal', () => {
    expect(usersOf('\x1b[2Jx:x:7:7::/:/bin/sh').get(7)).to.equal('\\x1b[2Jx');
  });

  it('print sizes as people read them', () => {
    expect([size(999), size(1000n), size(12_345_678), size(2n * 10n ** 9n)]).to.deep.equal([
      '999 B',
      '1.0 kB',
      '12.3 MB',
      '2.00 GB',
    ]);
  });
});

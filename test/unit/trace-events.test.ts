// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { type EventFilters, eventsOf, eventToJson } from '../../lab/trace/events.js';
import { InodeNames } from '../../lab/trace/names.js';
import { decodeRecord, type TraceRecord } from '../../lab/trace/record.js';
import { describeRecord } from '../../lab/trace/render.js';
import { TaskTracker } from '../../lab/trace/tasks.js';
import { displayBytes, isoFromNs } from '../../lab/trace/text.js';
import { collect, withRun } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

const CONTEXT = { cpu: 0, monoNs: 0n, realNs: 0n };
const decode = (bytes: Buffer): TraceRecord => decodeRecord(bytes, 0, CONTEXT);

/** Two CPUs whose sub-buffers overlap in time. */
const RUN = [
  b.subbuf(
    [
      b.task(
        { tid: 100, tgid: 100, parent_tgid: 1, uid: 1000, euid: 1000, comm: 'bash' },
        { code: FLAG.TASK_PRESENT, dt: 0 },
      ),
      b.task({ tid: 200, tgid: 200, parent_tgid: 100, uid: 1000, euid: 1000, comm: 'bash' }, { tid: 100, dt: 10 }),
      b.dentry('CREATE', { seq: 1n, name: 'evil', tid: 200, dt: 40 }),
    ],
    { cpu: 0, monoNs: 1000n, realNs: 1_000_000n },
  ),
  b.subbuf(
    [
      b.exec('/usr/bin/touch', { tgid: 200, uid: 1000, euid: 0, comm: 'touch' }, { tid: 200, dt: 5 }),
      b.entry(257, [-100, 4096, 65, 438], [b.tlv('PATH', '/tmp/evil', { arg: 1 })], { tid: 200, dt: 10 }),
      b.write({ seq: 2n, tid: 200, dt: 30 }, 0n, 'payload'),
      b.exit(257, 3, [], { tid: 200, dt: 31 }),
      b.taskExit(256, { tid: 200, dt: 32 }),
    ],
    { cpu: 1, monoNs: 1020n, realNs: 1_000_020n },
  ),
];

async function kinds(filters: EventFilters): Promise<string[]> {
  return await withRun(RUN, async (runDir) => (await collect(eventsOf(runDir, filters))).map((e) => e.record.kind));
}

describe('events', () => {
  it('come in order of time across CPUs, with who did them', async () => {
    await withRun(RUN, async (runDir) => {
      const events = await collect(eventsOf(runDir));
      expect(events.map((e) => e.record.kind)).to.deep.equal([
        'task',
        'task',
        'exec',
        'entry',
        'effect',
        'effect',
        'exit',
        'task_exit',
      ]);
      expect(events[4]?.task).to.include({
        tgid: 200,
        comm: 'touch',
        uid: 1000,
        euid: 0,
        exe: '/usr/bin/touch',
        parentTgid: 100,
      });
      expect(events[4]?.ancestors().map((t) => t.comm)).to.deep.equal(['bash']);
      expect(events[5]?.path).to.equal('/evil');
    });
  });

  it('pass filters by kind, effect, call, process, path, number, time and count', async () => {
    expect(await kinds({ kinds: new Set(['exec', 'exit']) })).to.deep.equal(['exec', 'exit']);
    expect(await kinds({ ops: new Set(['WRITE']) })).to.deep.equal(['effect']);
    expect(await kinds({ syscalls: new Set(['openat']) })).to.deep.equal(['entry', 'exit']);
    expect(await kinds({ pid: 100 })).to.deep.equal(['task', 'task']);
    expect(await kinds({ path: 'evil' })).to.deep.equal(['entry', 'effect', 'effect']);
    expect(await kinds({ path: 'touch' })).to.deep.equal(['exec']);
    expect(await kinds({ fromSeq: 2n, toSeq: 9n })).to.deep.equal(['effect']);
    expect(await kinds({ fromNs: 1_000_051n, toNs: 1_000_051n })).to.deep.equal(['exit']);
    expect(await kinds({ limit: 2 })).to.deep.equal(['task', 'task']);
    expect(await kinds({ limit: 0 })).to.deep.equal([]);
  });

  it('pass the same filters whether or not a record is decoded to find out', async () => {
    await withRun(RUN, async (runDir) => {
      const all = await collect(eventsOf(runDir));
      for (const kind of new Set(all.map((e) => e.record.kind)))
        expect(await kinds({ kinds: new Set([kind]) })).to.deep.equal(
          all.filter((e) => e.record.kind === kind).map((e) => e.record.kind),
        );
      expect(await kinds({ kinds: new Set(['malformed']) })).to.deep.equal([]);
      expect(await kinds({ kinds: new Set(['effect']), syscalls: new Set(['openat']) })).to.deep.equal([]);
    });
  });

  it('have a JSON form in which 64-bit values are strings', async () => {
    await withRun(RUN, async (runDir) => {
      const [event] = await collect(eventsOf(runDir, { ops: new Set(['WRITE']) }));
      if (!event) throw new Error('no event');
      const json = JSON.parse(JSON.stringify(eventToJson(event)));
      expect(json).to.include({
        kind: 'effect',
        op: 'WRITE',
        seq: '2',
        pos: '0',
        data: 'payload',
        comm: 'touch',
        pid: 200,
        path: '/evil',
      });
      expect(json).not.to.have.property('effect');
    });
  });
});

describe('task tracker', () => {
  it('follows credentials, and forgets the dead only after a while', () => {
    const tasks = new TaskTracker();
    tasks.observe(decode(b.task({ tid: 5, tgid: 5, uid: 1, euid: 1 })));
    tasks.observe(decode(b.cred({ uid: 0, euid: 0 }, { tid: 5 })));
    expect(tasks.get(5)).to.include({ uid: 0, euid: 0 });
    tasks.observe(decode(b.taskExit(0, { tid: 5 })));
    expect(tasks.get(5)?.uid).to.equal(0);
    for (let tid = 1000; tid < 6000; tid++) {
      tasks.observe(decode(b.task({ tid, tgid: tid })));
      tasks.observe(decode(b.taskExit(0, { tid })));
    }
    expect(tasks.get(5)).to.equal(undefined);
    expect(tasks.get(5999)).not.to.equal(undefined);
  });

  it("gives threads and brothers the program of who made them, not of the parent's", () => {
    const tasks = new TaskTracker();
    tasks.observe(decode(b.task({ tid: 5, tgid: 5, parent_tgid: 1 })));
    tasks.observe(decode(b.exec('/bin/sh', { tgid: 5 }, { tid: 5 })));
    tasks.observe(decode(b.task({ tid: 6, tgid: 6, parent_tgid: 5 }, { tid: 5 })));
    tasks.observe(decode(b.exec('/bin/db', { tgid: 6 }, { tid: 6 })));
    tasks.observe(decode(b.task({ tid: 7, tgid: 6, parent_tgid: 5 }, { tid: 6 })));
    tasks.observe(decode(b.task({ tid: 8, tgid: 8, parent_tgid: 5 }, { tid: 7 })));
    expect([7, 8].map((tid) => tasks.get(tid)?.exe)).to.deep.equal(['/bin/db', '/bin/db']);
  });

  it('keeps a task whose id was used before by one that died', () => {
    const tasks = new TaskTracker();
    tasks.observe(decode(b.task({ tid: 5, tgid: 5, comm: 'old' })));
    tasks.observe(decode(b.taskExit(0, { tid: 5 })));
    tasks.observe(decode(b.task({ tid: 5, tgid: 5, comm: 'new' })));
    for (let tid = 1000; tid < 6000; tid++) {
      tasks.observe(decode(b.task({ tid, tgid: tid })));
      tasks.observe(decode(b.taskExit(0, { tid })));
    }
    expect(tasks.get(5)?.comm).to.equal('new');
  });
});

describe('names of inodes', () => {
  const observe = (names: InodeNames, bytes: Buffer): void => {
    const record = decode(bytes);
    if (record.kind === 'effect' && record.effect.op !== 'MALFORMED') names.observe(record.effect);
  };

  it('are joined up to the root, and follow renames of a parent', () => {
    const names = new InodeNames();
    const dir = b.attr({ ino: 20n, gen: 9, mode: 0o40755 });
    observe(names, b.dentry('MKDIR', { seq: 1n, ino: 20n, gen: 9, name: 'home' }));
    observe(names, b.dentry('CREATE', { seq: 2n, ino: 21n, gen: 9, name: 'a', dir }));
    expect(names.path(0xfe00, 21n, 9)).to.equal('/home/a');
    observe(names, b.rename({ seq: 3n, ino: 20n, gen: 9, oldName: 'home', newName: 'moved' }));
    expect(names.path(0xfe00, 21n, 9)).to.equal('/moved/a');
    expect(names.path(0xfe00, 21n, 8)).to.equal('#21');
  });

  it('end at an unknown directory, and at a loop', () => {
    const names = new InodeNames();
    observe(names, b.dentry('CREATE', { seq: 1n, ino: 21n, gen: 9, name: 'a', dir: b.attr({ ino: 77n }) }));
    expect(names.path(0xfe00, 21n, 9)).to.equal('#77/a');
    names.learn({ dev: 0xfe00, ino: 30n, gen: 0 }, { ino: 30n, gen: 0 }, Buffer.from('x'));
    expect(names.path(0xfe00, 30n, 0)).to.match(/^x(\/x)+$/);
  });

  const file = (ino: bigint, nlink: number) => b.attr({ ino, gen: 1, nlink });
  const pathsOf = (names: InodeNames, ino: bigint) => {
    const { effect } = decode(b.write({ seq: 99n, ino }, 0n, 'x')) as Extract<TraceRecord, { kind: 'effect' }>;
    return names.paths(effect);
  };

  it('of one inode are several, and one that is taken away does not stand for it', () => {
    const names = new InodeNames();
    observe(names, b.dentry('CREATE', { seq: 1n, ino: 30n, name: 'passwd' }));
    observe(names, b.dentry('LINK', { seq: 2n, ino: 30n, name: '.x', child: file(30n, 2) }));
    expect(pathsOf(names, 30n)).to.deep.equal(['/passwd', '/.x']);
    const unlink = b.dentry('UNLINK', { seq: 3n, ino: 30n, name: '.x', child: file(30n, 1) });
    observe(names, unlink);
    expect(pathsOf(names, 30n)).to.deep.equal(['/passwd']);
    expect(describeRecord(decode(unlink), names)).to.match(/^\/\.x /);
    observe(names, b.dentry('UNLINK', { seq: 4n, ino: 30n, name: 'passwd', child: file(30n, 0) }));
    expect(pathsOf(names, 30n)).to.deep.equal(['/passwd']);
    // An O_TMPFILE inode may be linked again.
    observe(names, b.dentry('LINK', { seq: 5n, ino: 30n, name: 'back', child: file(30n, 1) }));
    expect(pathsOf(names, 30n)).to.deep.equal(['/back']);
  });

  it('are told by the count of links where something was lost', () => {
    const names = new InodeNames();
    observe(names, b.dentry('CREATE', { seq: 1n, ino: 30n, name: 'a' }));
    // RENAME of a to b is lost.
    observe(names, b.rename({ seq: 3n, ino: 30n, oldName: 'b', newName: 'c', source: file(30n, 1) }));
    expect(pathsOf(names, 30n)).to.deep.equal(['/c']);
  });

  it('that nobody told are not made up from one that was taken away', () => {
    const names = new InodeNames();
    observe(names, b.dentry('LINK', { seq: 1n, ino: 30n, name: '.x', child: file(30n, 2) }));
    observe(names, b.dentry('UNLINK', { seq: 2n, ino: 30n, name: '.x', child: file(30n, 1) }));
    expect(pathsOf(names, 30n)).to.deep.equal(['#30']);
  });

  it('change places', () => {
    const names = new InodeNames();
    observe(names, b.dentry('CREATE', { seq: 1n, ino: 31n, name: 'A' }));
    observe(names, b.dentry('CREATE', { seq: 2n, ino: 32n, name: 'B' }));
    const swap = { seq: 3n, ino: 31n, oldName: 'A', newName: 'B', renameFlags: 2, target: file(32n, 1) };
    observe(names, b.rename(swap));
    expect([...pathsOf(names, 31n), ...pathsOf(names, 32n)]).to.deep.equal(['/B', '/A']);
  });

  it('of another file system say so, and those that the image knew are of the root one', () => {
    const uuid = Buffer.alloc(16, 0xab);
    const names = new InodeNames({
      uuid,
      names: [
        { path: '/', ino: 2, gen: 0 },
        { path: '/etc', ino: 30, gen: 1 },
        { path: '/etc/passwd', ino: 31, gen: 1 },
        { path: '/etc/passwd.old', ino: 31, gen: 1 },
      ],
    });
    const foreign = { ino: 2n, gen: 0, dev: 0x700, uuid: Buffer.alloc(16, 1) };
    observe(names, b.mount('MOUNT', { seq: 1n, ...foreign }, 'ext4', '/etc'));
    observe(names, b.mount('MOUNT', { seq: 2n, ino: 2n, gen: 0 }, 'ext4', '/dev/vda'));
    // The same UUID once more is no second root.
    observe(names, b.mount('MOUNT', { seq: 3n, ...foreign, uuid }, 'ext4', '/dev/loop0'));
    observe(names, b.dentry('CREATE', { seq: 4n, ino: 31n, dev: 0x700, name: 'shadow' }));
    expect(names.path(0x700, 31n, 1)).to.equal('[dev 7:0]/shadow');
    expect(names.path(0x700, 2n, 0)).to.equal('[dev 7:0]/');
    expect(names.path(0x700, 30n, 1)).to.equal('[dev 7:0]#30');
    expect(names.path(0xfe00, 2n, 0)).to.equal('/');
    expect(pathsOf(names, 31n)).to.deep.equal(['/etc/passwd', '/etc/passwd.old']);
    expect(names.path(0xfe00, 31n, 2)).to.equal('#31');
    const dir = b.attr({ ino: 30n });
    observe(names, b.dentry('UNLINK', { seq: 5n, ino: 31n, dir, name: 'passwd', child: file(31n, 1) }));
    expect(pathsOf(names, 31n)).to.deep.equal(['/etc/passwd.old']);
  });
});

describe('text', () => {
  it('shows bytes so that no terminal is harmed and no two names look the same', () => {
    expect(displayBytes(Buffer.from('grüße'))).to.equal('grüße');
    expect(displayBytes(Buffer.from('a\x1b[31m\n\\'))).to.equal('a\\x1b[31m\\x0a\\x5c');
    expect(displayBytes(Buffer.from([0x66, 0xff, 0x5c]))).to.equal('f\\xff\\x5c');
    expect(displayBytes(Buffer.from('\u202egpj.exe'))).to.equal('\\xe2\\x80\\xaegpj.exe');
  });

  it('shows times to the nanosecond, before 1970 and past the end of JavaScript dates too', () => {
    expect(isoFromNs(1_700_000_000_123_456_789n)).to.equal('2023-11-14T22:13:20.123456789Z');
    expect(isoFromNs(-1n)).to.equal('1969-12-31T23:59:59.999999999Z');
    expect(isoFromNs(2n ** 64n * 1000n)).to.match(/ns$/);
  });

  it('describes calls with their captures', () => {
    expect(describeRecord(decode(b.entry(257, [-100, 4096, 65, 438], [b.tlv('PATH', '/a"b', { arg: 1 })])))).to.equal(
      'openat(-100, "/a\\x22b", O_WRONLY|O_CREAT, 0666)',
    );
    const argv = b.tlv('STRV', 'ls\0-l\0', { arg: 1 });
    expect(describeRecord(decode(b.entry(59, [4096, 8192, 0], [b.tlv('PATH', '/bin/ls'), argv])))).to.equal(
      'execve("/bin/ls", ["ls" "-l"], 0)',
    );
    expect(
      describeRecord(
        decode(b.exit(0, 5, [b.tlv('BUF_OUT', 'hel', { arg: 1, trueLen: 5, flags: FLAG.TLV_F_TRUNCATED })])),
      ),
    ).to.equal('read = 5 arg1="hel"…5');
    expect(describeRecord(decode(b.entry(4, [1], [], { flags: FLAG.F_ABI_IA32 | FLAG.F_DENIED })))).to.equal(
      'ia32:write(1) denied',
    );
  });
});

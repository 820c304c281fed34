// SPDX-License-Identifier: MIT
/**
 * The replay agent and records made by hand: its own C code on a scratch folder (test/fuzz/agent/harness.c), its
 * answers and the names it made as text.
 */
import { chmod, lstat, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { ext4Env } from '../../images/ext4.js';
import { FLAG } from '../../lab/abi/layout.js';
import {
  type AgentResult,
  BEGIN_FLAG,
  type Doubt,
  describeMismatch,
  encodeBegin,
  encodeEnd,
  encodeLost,
  parseAnswer,
  type Waiting,
} from '../../replay/control.js';
import { buildAgentHarness, whyNoSanitizers } from '../harness/agent.js';
import { sh } from '../harness/sh.js';
import { skip } from '../harness/skip.js';
import * as b from '../support/trace-builder.js';

const DEV = 0xfe00;
/** The harness gives root's rights up; nobody can give files away. */
const OWN_UID = process.getuid?.() ?? 0;
const [uid, gid] = OWN_UID === 0 ? [65534, 65534] : [OWN_UID, process.getgid?.() ?? 0];

/** Attributes of a folder by its number; the root is 2. */
const folder = (ino: bigint, nlink = 2) =>
  b.attr({ ino, gen: ino === 2n ? 0 : 1, mode: 0o40755, nlink, uid, gid, size: 4096n });
const file = (ino: bigint, nlink = 1, size = 0n) => b.attr({ ino, mode: 0o100644, nlink, size, uid, gid });
const root = (nlink = 2) => folder(2n, nlink);

type Op = Parameters<typeof b.dentry>[0];

/** An effect without its number. */
type Made = (seq: bigint) => Buffer;

const on =
  (op: Op, ino: bigint, name: string, child: Buffer, dir: Buffer): Made =>
  (seq) =>
    b.dentry(op, { seq, ino, name, child, dir });
const move =
  (
    ino: bigint,
    names: readonly [string, string],
    attrs: Partial<Record<'source' | 'oldDir' | 'newDir' | 'target', Buffer>>,
  ): Made =>
  (seq) =>
    b.rename({ seq, ino, oldName: names[0], newName: names[1], ...attrs });
const write =
  (ino: bigint, text: string): Made =>
  (seq) =>
    b.write({ seq, ino }, 0n, text);
const lost = (ino: bigint, what: number): Buffer => encodeLost({ ino, gen: ino === 2n ? 0 : 1, what });
const META = FLAG.LOST_ATTR + FLAG.LOST_TIMES;

interface Applied {
  readonly outcome: AgentResult['outcome'];
  readonly mismatches: readonly string[];
  readonly waiting: Waiting | undefined;
  readonly doubts: ReadonlyMap<bigint, Doubt['what']>;
  /** What stands on the disk: `d` with a slash, and the bytes of files. */
  readonly names: readonly string[];
}

async function namesIn(at: string, under = ''): Promise<string[]> {
  const names: string[] = [];
  for (const name of (await readdir(at)).sort()) {
    const status = await lstat(path.join(at, name));
    if (status.isDirectory())
      names.push(`${under}${name}/`, ...(await namesIn(path.join(at, name), `${under}${name}/`)));
    else names.push(`${under}${name} ${status.size}`);
  }
  return names;
}

describe('the replay agent, given records made by hand', () => {
  let scratch = '';
  let program: string | undefined;
  let why: string | undefined;
  let tries = 0;

  before(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'lemona-records-'));
    await chmod(scratch, 0o711);
    why = await whyNoSanitizers(scratch);
    if (why === undefined) program = await buildAgentHarness(scratch);
  });

  after(() => rm(scratch, { recursive: true, force: true }));

  /** Numbers the effects from 1 on; a control record takes the number of an effect that was lost. */
  async function apply(plan: readonly (Made | Buffer)[], flags = 0): Promise<Applied> {
    const at = path.join(scratch, String(++tries));
    await mkdir(at);
    const planFile = `${at}.plan`;
    const all = BEGIN_FLAG.CONTINUE + BEGIN_FLAG.TIMES_UTIMENS + flags;
    const records = plan.map((made, i) => (Buffer.isBuffer(made) ? made : made(BigInt(i + 1))));
    for (const record of records) if (record.length >= 40 && !plan.includes(record)) record.writeUInt32LE(DEV, 36);
    const begin = encodeBegin({ dev: DEV, flags: all, mountOptions: '' });
    await writeFile(planFile, Buffer.concat([begin, ...records, encodeEnd()]));
    const { stdout } = await sh`sh -c ${`exec "$0" --apply "$1" < "$2"`} ${program ?? ''} ${at} ${planFile}`;
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => parseAnswer(line));
    const result = answers.find((answer) => answer.t === 'result');
    if (result?.t !== 'result') throw new Error(`no result: ${stdout}`);
    const waiting = answers.find((answer) => answer.t === 'waiting');
    return {
      outcome: result.outcome,
      mismatches: result.first.map(describeMismatch),
      waiting: waiting?.t === 'waiting' ? waiting : undefined,
      doubts: new Map(answers.flatMap((answer) => (answer.t === 'doubt' ? [[answer.ino, answer.what] as const] : []))),
      names: await namesIn(at),
    };
  }

  const cases = (title: string, run: () => Promise<void>) =>
    it(title, async function () {
      if (program === undefined) skip(this, why ?? '');
      await run();
    });

  /** All of it came out as recorded. */
  const expectNames = async (plan: readonly Made[], names: readonly string[]) => {
    for (const flags of [0, BEGIN_FLAG.STRICT]) {
      const { outcome, mismatches, waiting, names: made } = await apply(plan, flags);
      expect({ mismatches, waiting, made }).to.deep.equal({ mismatches: [], waiting: undefined, made: names });
      expect(outcome).to.equal('complete');
    }
  };

  const [Q, D, P, F, G] = [100n, 101n, 104n, 102n, 103n];
  const mkdirQ = on('MKDIR', Q, 'Q', folder(Q), root(3));

  describe('effects that come before a birth they need', () => {
    cases('keep their order with what comes behind them', () =>
      expectNames(
        [
          mkdirQ,
          on('CREATE', F, 'x', file(F), folder(Q)),
          move(F, ['x', 'y'], { source: file(F), oldDir: folder(Q), newDir: folder(D) }),
          on('CREATE', G, 'x', file(G), folder(Q)),
          write(G, 'new'),
          on('MKDIR', D, 'D', folder(D), root(4)),
        ],
        ['D/', 'D/y 0', 'Q/', 'Q/x 3'],
      ),
    );

    cases('wait for what a rename replaces', () =>
      expectNames(
        [
          mkdirQ,
          on('CREATE', G, 'z', file(G), folder(Q)),
          on('LINK', F, 'y', file(F, 2), folder(Q)),
          move(G, ['z', 'y'], { source: file(G), oldDir: folder(Q), newDir: folder(Q), target: file(F, 1) }),
          write(F, 'it'),
          on('CREATE', F, 'f', file(F, 1, 2n), root(3)),
        ],
        ['Q/', 'Q/y 0', 'f 2'],
      ),
    );

    cases('wait for several births, each in a folder that is not born itself', () =>
      expectNames(
        [
          mkdirQ,
          on('CREATE', F, 'f', file(F), folder(D)),
          on('CREATE', G, 'g', file(G), folder(P, 3)),
          write(F, 'f'),
          on('MKDIR', D, 'D', folder(D), folder(P, 3)),
          move(G, ['g', 'h'], { source: file(G), oldDir: folder(P, 3), newDir: folder(Q) }),
          on('MKDIR', P, 'P', folder(P, 3), root(4)),
        ],
        ['P/', 'P/D/', 'P/D/f 1', 'Q/', 'Q/h 0'],
      ),
    );

    cases('hold up nothing else, if they are only about attributes and content', () =>
      // A whiteout's inherited attributes are set before the rename that leaves it, which makes its name free.
      expectNames(
        [
          on('CREATE', F, 'x', file(F), root()),
          (seq) => b.setattr({ seq, ino: G }, FLAG.VALID_MODE, b.attr({ ino: G, mode: 0o20644, nlink: 1, uid, gid })),
          move(F, ['x', 'y'], { source: file(F), oldDir: root(), newDir: root() }),
          on('MKNOD', G, 'x', b.attr({ ino: G, mode: 0o10644, nlink: 1, uid, gid }), root()),
        ],
        ['x 0', 'y 0'],
      ),
    );

    cases('let content pass, but for that of a file that they are about', async () => {
      const plan = [
        mkdirQ,
        on('CREATE', F, 'f', file(F), folder(Q)),
        on('CREATE', G, 'g', file(G), folder(Q)),
        on('LINK', G, 'h', file(G, 2), folder(D)),
        write(F, 'of another'),
        // Each tick of the clock has one, with the times.
        (seq: bigint) => b.setattr({ seq, ino: F }, 0, file(F, 1, 10n)),
        write(F, 'of another one'),
        write(G, 'of this'),
      ];
      const early = await apply(plan, BEGIN_FLAG.MIDWAY);
      expect([early.waiting?.from, early.names]).to.deep.equal([4n, ['Q/', 'Q/f 14', 'Q/g 0']]);
      await expectNames([...plan, on('MKDIR', D, 'D', folder(D), root(4))], ['D/', 'D/h 7', 'Q/', 'Q/f 14', 'Q/g 7']);
    });

    cases('are named where the instant is before that birth', async () => {
      const plan = [
        mkdirQ,
        on('CREATE', F, 'secret', file(F), folder(Q)),
        move(F, ['secret', 'y'], { source: file(F), oldDir: folder(Q), newDir: folder(D) }),
        on('UNLINK', F, 'y', file(F, 0), folder(D)),
      ];
      const { outcome, waiting, names } = await apply(plan, BEGIN_FLAG.MIDWAY);
      expect(waiting).to.deep.equal({ t: 'waiting', from: 3n, op: 'RENAME', ino: D, gen: 1 });
      expect([outcome, names]).to.deep.equal(['complete', ['Q/', 'Q/secret 0']]);
      // What nothing leads to yet is nothing that lacks.
      const early = await apply([mkdirQ, write(F, 'early')], BEGIN_FLAG.MIDWAY);
      expect(early.waiting).to.equal(undefined);
    });

    cases('and never come are a contradiction once all numbers are there, and the rest is applied', async () => {
      const plan = [
        mkdirQ,
        on('CREATE', G, 'g', file(G), folder(D)),
        write(P, 'nothing'),
        on('CREATE', F, 'f', file(F), folder(Q)),
      ];
      const given = async (...applied: Parameters<typeof apply>) => {
        const { mismatches, waiting, names } = await apply(...applied);
        expect(mismatches).to.deep.equal([
          `CREATE 2 on inode ${D}/1: birth: wanted an effect that creates this inode, seen none (errno 2)`,
          `CREATE 2 on inode ${D}/1: directory: wanted exists, seen removed (errno 116)`,
          `WRITE 3 on inode ${P}/1: birth: wanted an effect that creates this inode, seen none (errno 2)`,
        ]);
        return [waiting, names];
      };
      expect(await given(plan)).to.deep.equal([undefined, ['Q/', 'Q/f 0']]);
      // So they are behind a mark, wherever the plan ends.
      const behind = [...plan, (seq: bigint) => b.mark(seq, 'quiet'), write(F, 'on')];
      expect(await given(behind, BEGIN_FLAG.MIDWAY)).to.deep.equal([undefined, ['Q/', 'Q/f 2']]);
    });

    cases('make a size that the birth was too early to see, and leave none that it was', async () => {
      const grown = b.attr({ ino: F, mode: 0o100644, nlink: 1, size: 2n, uid, gid });
      const cut = (seq: bigint) => b.setattr({ seq, ino: F }, FLAG.VALID_SIZE, grown);
      const born = (size: bigint) => on('CREATE', F, 'f', file(F, 1, size), root());
      await expectNames([write(F, 'text'), born(0n)], ['f 4']);
      await expectNames([write(F, 'text'), born(4n)], ['f 4']);
      await expectNames([write(F, 'text'), cut, born(4n)], ['f 2']);
      await expectNames([write(F, 'text'), cut, born(0n)], ['f 2']);
      await expectNames([write(F, 'text'), cut, write(F, 'and'), born(2n), write(F, 'on')], ['f 3']);
      // The sample is still one to compare with.
      const { mismatches } = await apply([write(F, 'text'), born(7n)]);
      expect(mismatches).to.deep.equal([`final 2 on inode ${F}/1: size at the end: wanted 7, seen 4`]);
    });

    cases('may be more than there is memory for', async () => {
      const [size, count] = [512 * 1024, 264];
      const content = Array.from({ length: count }, (_, i) => Buffer.alloc(size, i + 1));
      const writes = content.map(
        (bytes, i): Made =>
          (seq) =>
            b.write({ seq, ino: F }, BigInt(i * size), bytes),
      );
      const born = on('CREATE', F, 'f', file(F), root());
      const { mismatches, names } = await apply([...writes, born]);
      expect([mismatches, names]).to.deep.equal([[], [`f ${size * count}`]]);
      const made = await readFile(path.join(scratch, String(tries), 'f'));
      expect(made.equals(Buffer.concat(content))).to.equal(true);
      // What is no content has to find room there.
      const value = Buffer.alloc(62_000, 'v');
      const values = Array.from(
        { length: 2200 },
        (): Made => (seq) => b.xattr({ seq, ino: F }, FLAG.XATTR_USER, 'v', value, file(F)),
      );
      const given = await apply([...values, born, write(G, 'it'), on('CREATE', G, 'g', file(G), root(2))]);
      expect(given.mismatches.map((text) => text.replace(/ \d+ /, ' '))).to.deep.equal([
        `XATTR on inode ${F}/1: birth: wanted an effect that creates this inode, seen none (errno 2)`,
      ]);
      expect(given.names).to.deep.equal(['f 0', 'g 2']);
    }).timeout(60_000);

    cases('do not wait for one that was lost', async () => {
      const { outcome, doubts, names } = await apply([
        mkdirQ,
        on('CREATE', G, 'g', file(G), folder(D)),
        on('CREATE', F, 'f', file(F), folder(Q)),
        lost(D, FLAG.LOST_ALL),
        lost(2n, META + FLAG.LOST_ENTRIES),
        write(F, 'on'),
      ]);
      expect([outcome, names]).to.deep.equal(['complete', ['Q/', 'Q/f 2']]);
      expect([doubts.get(D), doubts.get(G)]).to.deep.equal([FLAG.LOST_ALL, FLAG.LOST_ALL]);
    });

    cases('end, if births need each other', async () => {
      const { outcome, mismatches } = await apply([
        on('MKDIR', D, 'd', folder(D), folder(P)),
        on('MKDIR', P, 'p', folder(P), folder(D)),
        on('MKDIR', Q, 'q', folder(Q), folder(Q)),
      ]);
      expect(outcome).to.equal('diverged');
      expect(mismatches[0]).to.contain('birth: wanted an effect that creates this inode');
    });
  });

  cases('makes a nameless file although its folder is gone', () =>
    expectNames(
      [
        on('MKDIR', D, 'D', folder(D), root(3)),
        on('RMDIR', D, 'D', folder(D, 0), root()),
        on('TMPFILE', F, '', file(F, 0), folder(D, 0)),
        write(F, 'text'),
        on('LINK', F, 'f', file(F, 1, 4n), root()),
      ],
      ['f 4'],
    ),
  );

  cases('compares no count of links or size with a sample that may show more than its instant', async () => {
    const midway = async (...plan: readonly Made[]) => (await apply(plan, BEGIN_FLAG.MIDWAY)).mismatches;
    expect(await midway(on('CREATE', F, 'f', file(F, 2, 7n), root()))).to.deep.equal([]);
    const moved = move(D, ['D', 'E'], { source: folder(D, 3), oldDir: root(3), newDir: root(3) });
    expect(await midway(on('MKDIR', D, 'D', folder(D), root(3)), moved)).to.deep.equal([]);
    // Under its lock nothing else happens to it.
    const linked = on('LINK', F, 'g', file(F, 3), root());
    expect(await midway(on('CREATE', F, 'f', file(F), root()), linked)).to.deep.equal([
      `final 2 on inode ${F}/1: links at the end: wanted 3, seen 2`,
    ]);
    // The next name that goes may say what is there, after a birth that was seen late.
    const raced = [
      on('LINK', F, 'y', file(F, 2), root()),
      on('CREATE', F, 'f', file(F, 1), root()),
      on('UNLINK', F, 'y', file(F, 1), root()),
    ];
    expect((await apply(raced)).mismatches).to.deep.equal([]);
  });

  describe('after effects were lost', () => {
    const [A, B, C, X] = [100n, 101n, 105n, 106n];

    cases('vouches for nothing that a file, whose birth is not possible here, does later', async () => {
      const { outcome, doubts, names } = await apply([
        on('MKDIR', A, 'A', folder(A), root(3)),
        on('MKDIR', B, 'B', folder(B), root(4)),
        on('MKDIR', C, 'C', folder(C), root(5)),
        on('MKDIR', X, 'x', folder(X), folder(A, 3)),
        // A/x is now B/x
        lost(X, META + FLAG.LOST_PLACE),
        lost(A, META + FLAG.LOST_ENTRIES),
        lost(B, META + FLAG.LOST_ENTRIES),
        on('CREATE', G, 'x', file(G), folder(A)),
        on('CREATE', F, 'f', file(F), folder(X)),
        move(F, ['f', 't'], { source: file(F), oldDir: folder(X), newDir: folder(C) }),
      ]);
      expect([outcome, names]).to.deep.equal(['complete', ['A/', 'A/x 0', 'B/', 'C/']]);
      expect((doubts.get(C) ?? 0) & FLAG.LOST_ENTRIES).to.equal(FLAG.LOST_ENTRIES);
      expect(doubts.get(F)).to.equal(FLAG.LOST_ALL);
    });

    cases('explains by a folder that moved away from above that another is moved to below it', async () => {
      const plan = (what: Buffer) => [
        on('MKDIR', A, 'A', folder(A), root(3)),
        on('MKDIR', X, 'x', folder(X), folder(A, 3)),
        on('MKDIR', B, 'B', folder(B), folder(X, 3)),
        on('MKDIR', C, 'c', folder(C), folder(B, 3)),
        what,
        move(A, ['A', 'A2'], { source: folder(A, 3), oldDir: root(), newDir: folder(C, 3) }),
      ];
      const { mismatches, doubts } = await apply(plan(lost(B, META + FLAG.LOST_PLACE)));
      expect(mismatches.filter((text) => text.includes('rename'))).to.deep.equal([]);
      expect([doubts.get(A), doubts.get(C), doubts.get(2n)]).to.deep.equal([
        FLAG.LOST_PLACE,
        FLAG.LOST_ENTRIES,
        FLAG.LOST_ENTRIES,
      ]);
      // What was lost of others explains nothing.
      const other = await apply(plan(lost(G, META + FLAG.LOST_CONTENT)));
      expect(other.mismatches[0]).to.contain('rename: wanted success, seen Invalid argument');
    });

    cases('moves what is in the way to no place that a link of the guest leads to', async () => {
      const plan = (link: readonly Made[]) => [
        on('MKDIR', P, 'P', folder(P), root(3)),
        on('MKDIR', A, 'A', folder(A), root(4)),
        on('CREATE', F, 'f', file(F), folder(A)),
        ...link,
        lost(A, META + FLAG.LOST_PLACE),
        lost(2n, META + FLAG.LOST_ENTRIES),
        on('MKDIR', B, 'A', folder(B), root(4)),
      ];
      expect((await apply(plan([]))).names).to.deep.equal([
        ...['A/', 'P/', 'lost+found/', 'lost+found/lemona-0/', 'lost+found/lemona-0/f 0'],
      ]);
      const at = b.attr({ ino: X, mode: 0o120777, nlink: 1, size: 1n, uid, gid });
      const link: Made = (seq) =>
        b.dentry('SYMLINK', { seq, ino: X, name: 'lost+found', child: at, dir: root(4), extra: 'P' });
      const { outcome, names, doubts } = await apply(plan([link]));
      expect([outcome, names]).to.deep.equal(['complete', ['A/', 'A/f 0', 'P/', 'lost+found 1']]);
      expect([doubts.get(A), doubts.get(B), doubts.get(P)]).to.deep.equal([
        ...[META + FLAG.LOST_PLACE, FLAG.LOST_ALL, undefined],
      ]);
    });

    cases('explains no record that can not be read', async () => {
      const cut = (seq: bigint) => {
        const whole = b.dentry('UNLINK', { seq, ino: F, name: 'f' });
        const head = Buffer.from(whole.subarray(0, 40));
        head.writeUInt32LE((whole.readUInt32LE(0) & 0xfc000000) + head.length, 0);
        return head;
      };
      for (const doubt of [lost(2n, FLAG.LOST_ALL), encodeLost({ ino: 0n, gen: 0, what: FLAG.LOST_ALL })]) {
        const { mismatches } = await apply([doubt, cut]);
        expect(mismatches).to.deep.equal([
          `UNLINK 2 on inode ${F}/1: record: wanted lengths that fit, seen lengths that do not (errno 22)`,
        ]);
      }
    });
  });

  cases('takes no name for a file that has none', async () => {
    const { mismatches } = await apply([on('TMPFILE', F, 'A'.repeat(60_000), file(F, 0), root())]);
    expect(mismatches).to.deep.equal([
      `TMPFILE 1 on inode ${F}/1: record: wanted lengths that fit, seen lengths that do not (errno 22)`,
    ]);
  });

  it('says so when there is no memory for one more inode', async function () {
    if (program === undefined) skip(this, why ?? '');
    const plain = path.join(scratch, 'plain');
    await mkdir(plain);
    const agent = await buildAgentHarness(plain, []);
    // Each is an inode that is not born yet.
    const plan = Array.from({ length: 60_000 }, (_, i) => {
      const about = { seq: BigInt(i + 1), ino: BigInt(1000 + i), dev: DEV };
      return b.setattr(about, 0, b.attr({ ino: about.ino }));
    });
    await writeFile(`${plain}.plan`, Buffer.concat([encodeBegin({ dev: DEV, flags: 1, mountOptions: '' }), ...plan]));
    const limited = 'ulimit -d 20000; exec "$0" --apply "$1" < "$2"';
    const { stdout } = await sh({ nothrow: true })`sh -c ${limited} ${agent} ${plain} ${`${plain}.plan`}`;
    const last = parseAnswer(stdout.trim().split('\n').at(-1) ?? '');
    if (last.t !== 'fatal') throw new Error(`its last word was ${last.t}`);
    expect(last.text).to.match(/^out of memory after \d+ inodes: the replay VM has too little for this run$/);
  });

  cases('finds the inodes without a name that a disk lists in its orphan file', async () => {
    const image = path.join(scratch, 'orphans.raw');
    const tree = path.join(scratch, 'tree');
    await mkdir(tree);
    await writeFile(path.join(tree, 'a'), 'held open');
    const tool = sh({ env: ext4Env() });
    for (const [blockBytes, features] of [
      [1024, 'orphan_file'],
      [4096, 'orphan_file'],
      [1024, 'orphan_file,bigalloc'],
    ] as const) {
      await rm(image, { force: true });
      await tool`mke2fs -q -F -t ext4 -b ${blockBytes} -O ${features} -d ${tree} ${image} 64M`;
      await tool`debugfs -w -R ${'sif a links_count 0'} ${image}`;
      const found = async (command: string) => (await tool`debugfs -R ${command} ${image}`).stdout;
      const ino = Number(/Inode: (\d+)/.exec(await found('stat a'))?.[1]);
      const disk = await open(image, 'r+');
      try {
        const sb = Buffer.alloc(1024);
        await disk.read(sb, 0, 1024, 1024);
        const blocks = (await found(`blocks <${sb.readUInt32LE(0x280)}>`)).trim().split(/\s+/).map(Number);
        expect((await sh`${program ?? ''} --orphans ${image}`).stdout).to.equal('0 orphans\n');
        // Block 1 of the file, entry 3: and the superblock says that there may be some.
        sb.writeUInt32LE(sb.readUInt32LE(100) | 0x10000, 100);
        await disk.write(sb, 0, 1024, 1024);
        const entry = Buffer.alloc(4);
        entry.writeUInt32LE(ino);
        await disk.write(entry, 0, 4, (blocks[1] ?? 0) * blockBytes + 12);
      } finally {
        await disk.close();
      }
      expect((await sh`${program ?? ''} --orphans ${image}`).stdout, features).to.equal('1 orphans\n');
    }
  });
});

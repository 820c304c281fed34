// SPDX-License-Identifier: MIT
/** What a failed test of seeds prints is right: checked on records that are wrong on purpose. */
import { chmod, cp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import type { Effect, MalformedEffect } from '../../lab/abi/effects.js';
import { AT, FLAG, SIZE } from '../../lab/abi/layout.js';
import { ROOT } from '../../lab/cli/invocation.js';
import { eventsOf } from '../../lab/trace/events.js';
import type { VerifyRunResult } from '../../replay/verify.js';
import { useBench } from '../harness/boot.js';
import { describeDivergence, SHOWN, seedToBlame } from '../harness/divergence.js';
import { sh } from '../harness/sh.js';
import { alterEffects, makeNop } from '../support/alter-effects.js';

/** The first one has nothing wrong but in one row. */
const SEEDS = [7, 21];

const SCRIPT = `mkdir /root/play-7 /root/play-21; cd /root/play-21
echo kept > kept; echo changed > changed; echo many > many; lemona-mark first >/dev/null || exit 99
echo "what really was" >> changed; chmod 640 kept; mkdir named
for i in $(seq 101 160); do echo "line $i" >> many; done
echo born > ../play-7/born; lemona-mark second >/dev/null || exit 99
echo "and more" >> changed; lemona-mark third >/dev/null || exit 99
`;

type AnyEffect = Effect | MalformedEffect;

interface Row {
  readonly what: string;
  readonly isIt: (effect: AnyEffect) => boolean;
  readonly alter: (record: Buffer) => void;
  /** The seed whose folder it is in. */
  readonly seed: number;
  /** Where it is seen first, at the mark `second`. */
  readonly name: string;
  readonly difference: RegExp;
  /** The altered effect is among those that are shown. */
  readonly isListed: boolean;
  /** There are too many effects to print them all. */
  readonly isLong?: true;
  /** The replay itself stumbles over a later effect on the altered one's inode, for this reason. */
  readonly stumbles?: string;
}

const writes = (text: string) => (effect: AnyEffect) => effect.op === 'WRITE' && effect.data.includes(text);
const makes = (op: 'CREATE' | 'MKDIR', name: string) => (effect: AnyEffect) =>
  effect.op === op && effect.name.toString() === name;

/** Flips a bit of the first byte behind a record's fixed part. */
const flipAt = (fixed: number) => (record: Buffer) => {
  record[fixed] = (record[fixed] ?? 0) ^ 1;
};

const ROWS: readonly Row[] = [
  {
    what: 'written bytes that are others',
    isIt: writes('what really was'),
    alter: flipAt(SIZE.lemona_write),
    seed: 21,
    name: '/root/play-21/changed',
    difference: /^sha256: rebuilt [0-9a-f]{64}, truth [0-9a-f]{64}$/,
    isListed: true,
  },
  {
    what: 'a write that is missing',
    isIt: writes('what really was'),
    alter: makeNop,
    seed: 21,
    name: '/root/play-21/changed',
    difference: /^size: rebuilt 8, truth 24$/,
    isListed: false,
  },
  {
    what: 'a write that is other, with many before it and behind',
    isIt: writes('line 130'),
    alter: flipAt(SIZE.lemona_write),
    seed: 21,
    name: '/root/play-21/many',
    difference: /^sha256: /,
    isListed: false,
    isLong: true,
  },
  {
    what: 'a mode that is another',
    isIt: (effect) => effect.op === 'SETATTR' && (effect.valid & FLAG.VALID_MODE) !== 0,
    alter: (record) => {
      const at = AT.lemona_setattr.attr + AT.lemona_attr.mode;
      record.writeUInt32LE(record.readUInt32LE(at) & ~0o040, at);
    },
    seed: 21,
    name: '/root/play-21/kept',
    difference: /^mode: rebuilt \S*600, truth \S*640$/,
    isListed: true,
  },
  {
    what: 'a name that is another',
    isIt: makes('MKDIR', 'named'),
    alter: flipAt(SIZE.lemona_dentry),
    seed: 21,
    name: '/root/play-21/named',
    difference: /^name: rebuilt absent, truth /,
    isListed: true,
  },
  {
    what: 'a birth that is missing',
    isIt: makes('CREATE', 'born'),
    alter: makeNop,
    seed: 7,
    // A folder comes before its names.
    name: '/root/play-7',
    difference: /^mtime: /,
    isListed: false,
    stumbles: 'birth: wanted an effect that creates this inode',
  },
];

/** Numbers of the effects that are about an inode, or about a folder's entries. */
async function effectsOn(runDir: string, ino: bigint, after: bigint, to: bigint): Promise<bigint[]> {
  const seqs: bigint[] = [];
  for await (const { record } of eventsOf(runDir, { kinds: new Set(['effect']) })) {
    if (record.kind !== 'effect' || record.effect.seq <= after || record.effect.seq > to) continue;
    const { effect } = record;
    if (effect.ino === ino || ('dir' in effect && effect.dir.ino === ino)) seqs.push(effect.seq);
  }
  return seqs;
}

/** The numbers of the effects that are printed; other lines as they are. */
function seqsShown(lines: readonly string[]): (bigint | string)[] {
  return lines.map((line) => {
    const seq = /^\S+Z? +(\d+) cpu\d/.exec(line)?.[1];
    return seq === undefined ? line : BigInt(seq);
  });
}

function withoutMiddle(seqs: readonly bigint[]): (bigint | string)[] {
  return [...seqs.slice(0, SHOWN), `… ${seqs.length - 2 * SHOWN} more …`, ...seqs.slice(-SHOWN)];
}

describe('what is printed of a rebuild that left the recorded way', () => {
  const bench = useBench('suite');
  let whole: VerifyRunResult;

  before(async () => {
    const { manifest, output } = await bench().record('r', SCRIPT);
    expect(manifest.exitStatus, output).to.equal(0);
    whole = await bench().verify('r', { strict: true });
  });

  it('is nothing, if it did not', async () => {
    expect(whole.marks.map(({ mark }) => mark)).to.deep.equal(['first', 'second', 'third', 'end']);
    expect(whole.isEqual).to.equal(true);
    expect(await describeDivergence(bench().runDir('r'), whole, bench().ctx)).to.equal('');
  });

  for (const [i, row] of ROWS.entries()) {
    it(`names the mark, the file and its effects, and the seed: ${row.what}`, async () => {
      const runDir = bench().runDir(`row${i}`);
      await cp(bench().runDir('r'), runDir, { recursive: true });
      // Before it, the script itself comes into the guest.
      const [first, second] = whole.marks.map(({ seq }) => seq);
      const isIt = (effect: AnyEffect) => effect.seq > (first ?? 0n) && row.isIt(effect);
      const [altered, ...others] = await alterEffects(runDir, isIt, row.alter);
      expect(others).to.deep.equal([]);
      const result = await bench().verify(`row${i}`, { strict: true });
      expect(result.replay.gaps.length, 'losses that the record knows of').to.equal(0);
      expect(result.isEqual).to.equal(false);
      const lines = (await describeDivergence(runDir, result, bench().ctx)).split('\n');

      const [, inode, why] =
        /^first diverging effect: [A-Z]+ \d+ on inode (\d+)\/\d+: (.*), seen /.exec(lines[0] ?? '') ?? [];
      if (inode !== undefined) lines.shift();
      expect([inode, why]).to.deep.equal(
        row.stumbles === undefined ? [undefined, undefined] : [String(altered?.ino), row.stumbles],
      );

      const [difference = '', heading = '', ...effects] = lines;
      const place = `first difference: mark second: ${row.name}: `;
      expect(difference.slice(0, place.length)).to.equal(place);
      expect(difference.slice(place.length)).to.match(row.difference);

      const [, ino, shown, after] =
        /^effects on inode (\d+) \((.*)\) after seq (\d+), where all was equal:$/.exec(heading) ?? [];
      expect([shown, after]).to.deep.equal([row.name, String(first)]);
      const wanted = await effectsOn(runDir, BigInt(ino ?? 0), first ?? 0n, second ?? 0n);
      if (row.isListed) expect(wanted).to.include(altered?.seq);
      expect(wanted.length > 2 * SHOWN).to.equal(row.isLong === true);
      expect(seqsShown(effects)).to.deep.equal(row.isLong === true ? withoutMiddle(wanted) : wanted);
      expect(seedToBlame(result, SEEDS)).to.equal(row.seed);
    });
  }
});

describe('the command that reproduces what a failed test did', () => {
  const bench = useBench();
  const fixture = path.join(ROOT, 'test/boot/failing-seed.ts');
  const mocha = [path.join(ROOT, 'node_modules/.bin/mocha'), '--reporter', path.join(ROOT, 'test/harness/reporter.ts')];

  async function run(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
    const { stdout, stderr } = await sh({ cwd: ROOT, env, nothrow: true })`${[...argv]}`;
    for (const [, kept] of stderr.matchAll(/^ +kept: (.*)$/gm)) await rm(kept ?? '', { recursive: true });
    return stdout + stderr;
  }

  it('has the seed that is to blame, and runs that test alone', async () => {
    const { folder } = bench();
    const counts = path.join(folder, 'counts');
    const { LEMONA_SEED: _mine, ...mine } = process.env;
    const env = { ...mine, LEMONA_TEST_COUNTS: counts };
    const blamed = 1 + SEEDS.reduce((sum, seed) => sum + seed, 0);
    const said = await run([...mocha, fixture], { ...env, LEMONA_TEST_BLAME: String(blamed) });
    expect(JSON.parse(await readFile(counts, 'utf8'))).to.deep.equal({ passed: 0, failed: 2, skipped: 0 });
    const commands = [...said.matchAll(/^ +reproduce: (.*)$/gm)].map(([, command]) => command ?? '');
    expect(commands).to.have.length(2);
    const [command = '', unseeded = ''] = commands;
    expect(command).to.match(new RegExp(`^LEMONA_SEED=${blamed} ./lemona test boot --grep '`));
    expect(unseeded).to.match(/^.\/lemona test boot --grep '/);

    // As a shell reads it: the group has only this file.
    const stub = path.join(folder, 'lemona');
    const words = mocha.map((word) => `'${word}'`).join(' ');
    await writeFile(
      stub,
      `#!/bin/sh\n[ "$*" = "test boot --grep $4" ] || exit 2\nexec ${words} --grep "$4" '${fixture}'\n`,
    );
    await chmod(stub, 0o755);
    const again = await run(['sh', '-c', command.replace('./lemona', `'${stub}'`)], env);
    expect(again).to.include(`first seed: ${blamed}\n`);
    expect(JSON.parse(await readFile(counts, 'utf8'))).to.deep.equal({ passed: 0, failed: 1, skipped: 0 });
    const other = await run(['sh', '-c', unseeded.replace('./lemona', `'${stub}'`)], env);
    expect(other)
      .to.match(/blames nothing/)
      .and.not.to.include('first seed');
  });
});

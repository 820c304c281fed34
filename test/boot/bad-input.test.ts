// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { lemona } from '../harness/command.js';

/** What is typed, the status it must end with, and what must be said. */
interface BadRow {
  readonly args: readonly string[];
  readonly status: number;
  readonly says: RegExp;
}

const AT_ONCE = 4;

const record = (...flags: string[]) => ['record', '--run', 'x', '--image', 'tiny', ...flags, 'true'];
const rebuild = (at: string) => ['reconstruct', 'r', '--at', at, '--output', 'out.raw'];

const UNKNOWN: readonly BadRow[] = [
  { args: ['verify', 'nope', '--all-marks'], status: 2, says: /LAB_RUN_UNKNOWN.*\nnext: runs there: r/ },
  { args: ['stats', 'nope'], status: 2, says: /LAB_RUN_UNKNOWN/ },
  { args: ['events', 'nope'], status: 2, says: /LAB_RUN_UNKNOWN/ },
  { args: ['custody', 'nope'], status: 2, says: /LAB_RUN_UNKNOWN/ },
  { args: ['audit', 'nope'], status: 2, says: /LAB_RUN_UNKNOWN/ },
  { args: ['bench', 'compare', 'nope', 'nope'], status: 2, says: /LAB_USAGE: there is no report nope/ },
  { args: ['help', 'nope'], status: 2, says: /there is no command 'nope'/ },
  { args: ['nope'], status: 2, says: /unknown command 'nope'/ },
  { args: ['truth', 'nope', '--at', 'end', '--output', 'out.raw'], status: 2, says: /LAB_RUN_UNKNOWN/ },
  {
    args: ['reconstruct', '../r', '--output', 'out.raw'],
    status: 2,
    says: /there is no run in \S+\/r \(no run\.json\)/,
  },
  { args: ['record', '--run', '../r', '--image', 'tiny', 'true'], status: 2, says: /'\.\.\/r' can't be a run's name/ },
  {
    args: record('--config', 'fast'),
    status: 2,
    says: /--config <C>' argument 'fast' is invalid\. Allowed choices are vanilla/,
  },
  {
    args: record('--image', 'big'),
    status: 2,
    says: /--image <I>' argument 'big' is invalid\. Allowed choices are tiny, debian/,
  },
  { args: record('--witness', '--config', 'vanilla'), status: 2, says: /'vanilla' keeps no record to compare with/ },
  { args: ['record', '--run', 'r', '--image', 'tiny', 'true'], status: 2, says: /LAB_RUN_EXISTS.*\nnext: .*--force/ },
  { args: record('--smp', '0'), status: 2, says: /a whole number above 0 is wanted/ },
  { args: record('--copy-in', '/nope:/root/x'), status: 2, says: /\/nope can't be read/ },
  { args: ['record', '--run', 'x', '--image', 'tiny'], status: 2, says: /missing required argument 'cmd'/ },
  { args: rebuild('yesterday'), status: 2, says: /LAB_USAGE.*yesterday/ },
  { args: rebuild('mark:two'), status: 2, says: /LAB_INSTANT_UNKNOWN.*'?two'?.*\nnext:.*one/ },
  { args: rebuild('seq:99999999'), status: 2, says: /LAB_INSTANT_UNKNOWN.*99999999/ },
  { args: rebuild('1999-01-01T00:00:00Z'), status: 2, says: /LAB_INSTANT_UNKNOWN/ },
  { args: ['verify', 'r', '--at', 'seq:3'], status: 2, says: /LAB_NO_TRUTH.*\nnext: marks of this run: one, end/ },
];

/** What is done to a file of the run, and what each command then says. */
interface DamageRow {
  readonly name: string;
  readonly file: string;
  readonly damage: (good: Buffer) => Buffer;
  readonly commands: readonly BadRow[];
}

const flipped = (good: Buffer) => {
  const bad = Buffer.from(good);
  const middle = Math.floor(bad.length / 2);
  bad[middle] = (bad[middle] ?? 0) ^ 0x10;
  return bad;
};
const FOREIGN = Buffer.from('this is no segment of ours, but somebody put it here under its name\n'.repeat(10));
const wrongDigest = (key: string) => (good: Buffer) =>
  Buffer.from(good.toString('utf8').replace(new RegExp(`("${key}": [^}]*"sha256": ")[0-9a-f]{8}`), '$100000000'));

const DAMAGED: readonly DamageRow[] = [
  {
    name: 'a flipped bit',
    file: 'segments/000000.seg',
    damage: flipped,
    commands: [
      { args: ['stats', 'r'], status: 1, says: /000000\.seg|segment 0/ },
      { args: rebuild('end'), status: 1, says: /segment 0 at \d+: .*\n(.*\n)*.*cannot be vouched for/ },
    ],
  },
  {
    name: 'a cut segment',
    file: 'segments/000000.seg',
    damage: (good) => good.subarray(0, good.length - 3000),
    commands: [
      { args: ['stats', 'r'], status: 1, says: /segment 0 at \d+: torn(.*\n)*.*the rest was cut off/ },
      { args: rebuild('end'), status: 1, says: /the rest was cut off(.*\n)*.*cannot be vouched for/ },
    ],
  },
  {
    name: 'no segment at all',
    file: 'segments/000000.seg',
    damage: () => Buffer.alloc(0),
    commands: [{ args: ['stats', 'r'], status: 1, says: /the segments hold 0 / }],
  },
  {
    name: 'a foreign file',
    file: 'segments/000000.seg',
    damage: () => FOREIGN,
    commands: [
      { args: ['stats', 'r'], status: 1, says: /foreign/i },
      { args: rebuild('end'), status: 1, says: /foreign/i },
    ],
  },
  {
    name: 'a checkpoint with another digest',
    file: 'run.json',
    damage: wrongDigest('name'),
    commands: [
      { args: rebuild('end'), status: 1, says: /LAB_CHECKPOINT_DIGEST: the image 'tiny'/ },
      { args: ['verify', 'r', '--all-marks'], status: 1, says: /LAB_CHECKPOINT_DIGEST/ },
    ],
  },
  {
    name: 'a disk with another digest',
    file: 'run.json',
    damage: wrongDigest('disk'),
    commands: [
      {
        args: ['truth', 'r', '--at', 'end', '--output', 'out.raw'],
        status: 1,
        says: /LAB_CHECKPOINT_DIGEST: the disk of run 'r'/,
      },
      { args: ['verify', 'r', '--all-marks'], status: 1, says: /LAB_CHECKPOINT_DIGEST/ },
    ],
  },
  {
    name: 'a run.json cut in half',
    file: 'run.json',
    damage: (good) => good.subarray(0, good.length / 2),
    commands: [{ args: ['stats', 'r'], status: 1, says: /LAB_RUN_CORRUPT: .*run\.json is not JSON/ }],
  },
];

describe('bad input to ./lemona', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-bad-'));
    const command = [
      'sh',
      '-c',
      'echo a > /root/a; lemona-mark one; i=0; while [ $i -lt 99 ]; do : > /root/$i; i=$((i + 1)); done',
    ];
    const { status, stderr } = await lemona(['record', '--run', 'r', '--image', 'tiny', '--', ...command], folder);
    expect(status, stderr).to.equal(0);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function demand({ args, status, says }: BadRow): Promise<void> {
    const ended = await lemona(args, folder);
    const said = `${ended.stdout}${ended.stderr}`;
    const told = `lemona ${args.join(' ')}:\n${said}`;
    expect(ended.status, told).to.equal(status);
    expect(said, told).to.match(says);
  }

  it('names what is unknown, with status 2, and makes nothing', async () => {
    // None of them changes anything, and each is mostly Node's start.
    for (let n = 0; n < UNKNOWN.length; n += AT_ONCE) await Promise.all(UNKNOWN.slice(n, n + AT_ONCE).map(demand));
    expect(await readdir(folder)).to.deep.equal(['runs']);
    expect(await readdir(path.join(folder, 'runs'))).to.deep.equal(['r']);
  });

  for (const { name, file, damage, commands } of DAMAGED) {
    it(`is ${name}: said with status 1, and the run is good again when that is undone`, async () => {
      const target = path.join(folder, 'runs/r', file);
      const good = await readFile(target);
      const bad = damage(good);
      expect(bad.equals(good)).to.equal(false);
      try {
        await writeFile(target, bad);
        for (const row of commands) await demand(row);
        await demand({
          args: ['audit', 'r'],
          status: 1,
          says: new RegExp(`^${file}: .*(.*\n)*r: .*: ALTERED: 1 `, 'm'),
        });
      } finally {
        await writeFile(target, good);
        await rm(path.join(folder, 'out.raw'), { force: true });
      }
      const { status, stdout } = await lemona(['stats', 'r'], folder);
      expect([status, / recorded \+ 0 declared lost$/m.test(stdout)]).to.deep.equal([0, true]);
    });
  }

  it('leaves a run that verifies and that nobody altered', async () => {
    const { status, stderr } = await lemona(['verify', 'r', '--all-marks'], folder);
    expect(status, stderr).to.equal(0);
    expect(await stat(path.join(folder, 'out.raw')).catch(() => 'absent')).to.equal('absent');
    await demand({ args: ['audit', 'r'], status: 0, says: /a witness .* saw (\d+) of \1 (.*\n)*r: .*: intact$/m });
    await demand({ args: ['seal', 'r', '--output', 'r.tar.zst'], status: 0, says: /^[0-9a-f]{64} {2}r\.tar\.zst$/m });
    await demand({ args: ['audit', './r.tar.zst'], status: 0, says: /^r: .*: intact$/m });
    await demand({
      args: ['custody', 'r'],
      status: 0,
      says: /: record --run r --image tiny .*(.*\n)*.*: seal r --output/,
    });
  });
});

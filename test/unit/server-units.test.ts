// SPDX-License-Identifier: MIT
/** The units of systemd: what of them can be checked without one that runs. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { ROOT } from '../../lab/cli/invocation.js';
import { buildProgram } from '../../lab/cli/parse.js';
import { parseListen } from '../../lab/cli/verbs/server.js';
import { systemCodeOf } from '../../lab/util/errors.js';
import { skip } from '../harness/skip.js';
import { useStore } from '../harness/store.js';
import { writeSegments } from '../support/run-builder.js';
import { entry, subbuf } from '../support/trace-builder.js';
import { testIntake } from '../support/wire-point.js';

const FOLDER = path.join(ROOT, 'lab/server/systemd');
/** Where the units expect the repository. */
const PLACE = '/opt/lemona-lab';
/** The verbs that they start. */
const VERBS = {
  'lemona-inserter.service': 'index',
  'lemona-server.service': 'server',
  'lemona-witness.service': 'witness',
} as const;
const UNITS = Object.keys(VERBS) as (keyof typeof VERBS)[];
const run = promisify(execFile);

/** Values of each key, in order; a unit says some keys more than once. */
async function readUnit(name: string): Promise<(key: string) => string[]> {
  const lines = (await readFile(path.join(FOLDER, name), 'utf8')).split('\n');
  return (key) => lines.flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
}

/** The one value that is there. */
function only(values: readonly string[], what: string): string {
  expect(values, what).to.have.length(1);
  return values[0] ?? '';
}

/** The words of ExecStart, with the variables of the unit in it. */
function commandOf(unit: (key: string) => string[]): string[] {
  const variables = new Map(unit('Environment').map((set) => set.split('=', 2) as [string, string]));
  const words = only(unit('ExecStart'), 'ExecStart').split(' ');
  // A file that must be there may be the only one to say them.
  const areTold = unit('EnvironmentFile').some((file) => !file.startsWith('-'));
  return words.map((word) =>
    word.replace(/\$\{(\w+)\}/g, (_all, name: string) => {
      expect(areTold || variables.has(name), `${name} has a value without an EnvironmentFile`).to.equal(true);
      return variables.get(name) ?? name;
    }),
  );
}

describe('the units of systemd', () => {
  it('are all known to this test', async () => {
    const names = (await readdir(FOLDER)).filter((name) => name.endsWith('.service'));
    expect(names.sort()).to.deep.equal([...UNITS]);
  });

  for (const name of UNITS) {
    it(`start verbs with flags that are there: ${name}`, async () => {
      const [program, ...words] = commandOf(await readUnit(name));
      expect(program).to.equal(`${PLACE}/lemona`);
      const called: [string, Record<string, unknown>][] = [];
      const parser = buildProgram('0', async (verb, _args, flags) => {
        called.push([verb.name, Object.fromEntries(flags)]);
      });
      await parser.parseAsync(words, { from: 'user' });
      const [[verb, flags] = ['', {}]] = called;
      expect(verb).to.equal(VERBS[name]);
      if (typeof flags.listen === 'string') expect(parseListen(flags.listen).port).to.equal(4270);
    });

    it(`leave no core with keys in it: ${name}`, async () => {
      expect((await readUnit(name))('LimitCORE')).to.deep.equal(['0']);
    });

    it(`run as a user that the sysusers file makes, and whose home they keep: ${name}`, async () => {
      const unit = await readUnit(name);
      const sysusers = await readFile(path.join(FOLDER, 'lemona.sysusers.conf'), 'utf8');
      const [[, user, home] = []] = [...sysusers.matchAll(/^u (\S+) - "[^"]+" (\S+)$/gm)];
      expect([only(unit('User'), 'User'), only(unit('Group'), 'Group')]).to.deep.equal([user, user]);
      expect(home).to.equal(`/var/lib/${only(unit('StateDirectory'), 'StateDirectory')}`);
      expect(commandOf(unit).filter((word) => word.startsWith('/var/'))).to.satisfy((words: string[]) =>
        words.every((word) => word.startsWith(`${home}/`)),
      );
    });
  }

  it('have only options that systemd knows', async function () {
    const folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    try {
      const files: string[] = [];
      for (const name of UNITS) {
        // With a program that is there.
        const text = (await readFile(path.join(FOLDER, name), 'utf8')).replaceAll(PLACE, ROOT);
        files.push(path.join(folder, name));
        await writeFile(path.join(folder, name), text);
      }
      const { stderr } = await run('systemd-analyze', ['verify', '--man=no', ...files]).catch((error: unknown) => {
        if (systemCodeOf(error) === 'ENOENT') skip(this, 'systemd-analyze is not installed');
        throw error;
      });
      // It looks at the units of the machine too.
      expect(stderr.split('\n').filter((line) => line.includes('lemona'))).to.deep.equal([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('have a sysusers file that systemd takes', async function () {
    const file = path.join(FOLDER, 'lemona.sysusers.conf');
    const root = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    try {
      const text = await readFile(file, 'utf8');
      const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      const { stderr } = await run('systemd-sysusers', [`--root=${root}`, '--dry-run', '--inline', ...lines]).catch(
        (error: unknown) => {
          if (systemCodeOf(error) === 'ENOENT') skip(this, 'systemd-sysusers is not installed');
          throw error;
        },
      );
      expect(stderr).to.match(/Would create user 'lemona'|Creating user 'lemona'/i);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});

/** `systemd-analyze syscall-filter`: the sets by their names. */
async function readSets(test: Mocha.Context): Promise<Map<string, string[]>> {
  const { stdout } = await run('systemd-analyze', ['syscall-filter']).catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') skip(test, 'systemd-analyze is not installed');
    throw error;
  });
  const sets = new Map<string, string[]>();
  for (const part of stdout.split(/\n(?=@)/)) {
    const [name = '', ...lines] = part.split('\n').map((line) => line.trim());
    sets.set(
      name,
      lines.filter((line) => line !== '' && !line.startsWith('#')),
    );
  }
  return sets;
}

/** What a unit's filter lets through: the first line allows, `~` takes away, further lines give back. */
function allowedBy(lines: readonly string[], sets: ReadonlyMap<string, readonly string[]>): Set<string> {
  const calls = (name: string): string[] => (name.startsWith('@') ? (sets.get(name) ?? []).flatMap(calls) : [name]);
  const allowed = new Set(calls('@default'));
  for (const line of lines) {
    const isTaken = line.startsWith('~');
    for (const call of line.replace('~', '').split(' ').flatMap(calls)) {
      if (isTaken) allowed.delete(call);
      else allowed.add(call);
    }
  }
  return allowed;
}

describe("the units' filters of system calls", function () {
  this.timeout(120_000);
  const folder = useStore();

  /** Runs a command; what it calls that the unit does not allow: systemd would kill it there. */
  async function forbiddenIn(
    test: Mocha.Context,
    unit: (typeof UNITS)[number],
    command: readonly string[],
    endAt?: RegExp,
  ): Promise<string> {
    const allowed = allowedBy((await readUnit(unit))('SystemCallFilter'), await readSets(test));
    expect(allowed.size).to.be.above(200);
    const trace = path.join(folder(), 'trace');
    // `?`: a call of another architecture is not known to strace.
    const filter = `trace=!${[...allowed].map((call) => `?${call}`).join(',')}`;
    const args = ['-f', '-qq', '--seccomp-bpf', '-e', filter, '-e', 'signal=none', '-o', trace, ...command];
    const env = { ...process.env, LEMONA_NO_INSTALL: '1', XDG_DATA_HOME: path.join(folder(), 'data') };
    const child = spawn('strace', args, { detached: true, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
        // All but strace, which waits for them.
        if (endAt?.test(said) === true && child.pid !== undefined) process.kill(-child.pid, 'SIGINT');
      });
    const [status] = (await once(child, 'close').catch((error: unknown) => {
      if (systemCodeOf(error) === 'ENOENT') skip(test, 'strace is not installed');
      throw error;
    })) as [number | null];
    expect(status, said).to.equal(0);
    const lines = (await readFile(trace, 'utf8')).split('\n');
    // SQLite does that where it is root, which the unit is not.
    return lines.filter((line) => !line.includes(' fchown(')).join('\n');
  }

  it('let the receiver start', async function () {
    await testIntake();
    const words = ['server', path.join(folder(), 'point'), '--make', '--listen', '127.0.0.1:0'];
    const command = [path.join(ROOT, 'lemona'), ...words];
    expect(await forbiddenIn(this, 'lemona-server.service', command, /"listening"/)).to.equal('');
  });

  it('let the inserter load, and compile at its first start', async function () {
    await writeSegments(folder(), [subbuf([entry(0)])]);
    const command = [path.join(ROOT, 'lemona'), 'index', `${folder()}/`, '--db', path.join(folder(), 'index.db')];
    expect(await forbiddenIn(this, 'lemona-inserter.service', command)).to.equal('');
    const makefile = path.join(folder(), 'makefile');
    await writeFile(makefile, "all:\n\t@echo 'int x;' | gcc -c -x c -o /dev/null -\n");
    expect(await forbiddenIn(this, 'lemona-inserter.service', ['make', '-f', makefile])).to.equal('');
  });
});

// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { ROOT } from '../../lab/cli/invocation.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { qemusOf } from '../harness/boot.js';

const LEMONA = path.join(ROOT, 'lemona');

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function lemona(args: readonly string[], cwd: string, program = LEMONA): Promise<Ended> {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('utf8');
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

describe('./lemona', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-cli-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('works from any folder and through a symbolic link, and says its version', async () => {
    const link = path.join(folder, 'a link');
    await symlink(LEMONA, link);
    const { status, stdout } = await lemona(['--version'], folder, link);
    const manifest = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect([status, stdout]).to.deep.equal([0, `${manifest.version}\n`]);
  });

  it('records, verifies and counts, with data on stdout only', async () => {
    const recorded = await lemona(
      ['record', '--run', 'r', '--image', 'tiny', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'],
      folder,
    );
    expect([recorded.status, recorded.stdout], recorded.stderr).to.deep.equal([3, 'out\n']);
    expect(recorded.stderr).to.include('err');
    const again = await lemona(['record', '--run', 'r', '--image', 'tiny', 'true'], folder);
    expect(again.status, again.stderr).to.equal(2);
    const verified = await lemona(['verify', 'r', '--all-marks', '--json'], folder);
    expect(verified.status, verified.stdout + verified.stderr).to.equal(0);
    const facts = verified.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; isEqual?: boolean });
    expect(facts.at(-1)).to.include({ type: 'verdict', isEqual: true });
    const stats = await lemona(['stats', 'r'], folder);
    expect(stats.status).to.equal(0);
    expect(stats.stdout).to.match(/^(\d+) issued = \1 recorded \+ 0 declared lost$/m);
    const events = await lemona(['events', 'r', '--kind', 'exec', '--limit', '2'], folder);
    expect(events.stdout.trim().split('\n')).to.have.length(2);
  });

  it('ends everything on Ctrl-C, and keeps what was recorded', async () => {
    const args = ['record', '--run', 'r', '--image', 'tiny', '--', 'sh', '-c', 'echo going; sleep 600'];
    const child = spawn(LEMONA, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8');
    });
    child.stderr.resume();
    await pollUntil(() => (stdout.includes('going') ? true : undefined), { label: 'the command', timeoutMs: 180_000 });
    child.kill('SIGINT');
    const [status] = (await once(child, 'close')) as [number | null];
    expect(status).to.equal(130);
    const run = JSON.parse(await readFile(path.join(folder, 'runs/r/run.json'), 'utf8')) as { state: string };
    expect(run.state).to.equal('torn');
    expect(await qemusOf(folder)).to.deep.equal([]);
    const stats = await lemona(['stats', 'r'], folder);
    expect(stats.stdout).to.match(/issued = /);
  });
});

// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { lemona } from '../harness/command.js';
import { skip } from '../harness/skip.js';

/** Everything that a started command left running is an error of `lemona` in the harness. */
describe('Ctrl-C ends ./lemona with status 130 and leaves no process and no half-made thing', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-ctrl-c-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const record = (config: string, ...command: string[]) => [
    ...['record', '--run', 'r', '--force', '--image', 'tiny', '--config', config, '--', ...command],
  ];

  async function stateOf(run: string): Promise<string> {
    const text = await readFile(path.join(folder, 'runs', run, 'run.json'), 'utf8');
    return (JSON.parse(text) as { state: string }).state;
  }

  it('while it waits for the kernel cache, whose lock stays with its owner', async () => {
    const lock = path.join(folder, 'lemona-lab/kernel/lock');
    await mkdir(path.dirname(lock), { recursive: true });
    await writeFile(lock, `${process.pid}\n`);
    const options = { env: { XDG_CACHE_HOME: folder }, interruptAt: /kernel cache/, interruptAfterMs: 500 };
    const { status, stderr } = await lemona(['build', 'kernel', 'y'], folder, options);
    expect(status, stderr).to.equal(130);
    expect(await readFile(lock, 'utf8')).to.equal(`${process.pid}\n`);
  });

  it('while it makes the tiny image, which the next build makes whole', async () => {
    const env = { XDG_CACHE_HOME: folder };
    const images = path.join(folder, 'lemona-lab/images');
    const interrupt = { env, interruptAt: /make the image tiny/, interruptAfterMs: 100 };
    const { status, stderr } = await lemona(['build', 'image', 'tiny'], folder, interrupt);
    expect(status, stderr).to.equal(130);
    expect(await readdir(images)).to.deep.equal([]);
    const again = await lemona(['build', 'image', 'tiny'], folder, { env });
    expect(again.status, again.stderr).to.equal(0);
    expect(await readdir(images)).to.have.length(1);
  });

  it('while it installs packages into the debian image', async function () {
    const env = { XDG_CACHE_HOME: folder };
    const interrupt = { env, interruptAt: /install \d+ packages/, interruptAfterMs: 3_000 };
    const { status, stderr } = await lemona(['build', 'image', 'debian'], folder, interrupt);
    if (status === 3 && /archive/.test(stderr)) skip(this, 'the package archive cannot be reached');
    expect(status, stderr).to.equal(130);
    expect(await readdir(path.join(folder, 'lemona-lab/images'))).to.deep.equal([]);
  });

  it('while the guest boots', async () => {
    const options = { interruptAt: /booting the guest/, interruptAfterMs: 400 };
    const { status, stderr } = await lemona(record('static-relay', 'sleep', '600'), folder, options);
    expect(status, stderr).to.equal(130);
    expect(await stateOf('r')).to.be.oneOf(['failed', 'torn']);
  });

  it('while a live checkpoint is taken', async () => {
    const { status, stderr } = await lemona(record('module-relay', 'sleep', '600'), folder, {
      interruptAt: /taking the checkpoint/,
    });
    expect(status, stderr).to.equal(130);
    expect(await stateOf('r')).to.be.oneOf(['failed', 'torn']);
  });

  it('while the command runs, and keeps what was recorded', async () => {
    const command = ['sh', '-c', 'echo a > /root/a; echo going; sleep 600'];
    const { status, stderr } = await lemona(record('static-relay', ...command), folder, { interruptAt: /going/ });
    expect(status, stderr).to.equal(130);
    expect(await stateOf('r')).to.equal('torn');
    const stats = await lemona(['stats', 'r'], folder);
    expect(stats.stdout).to.match(/^(\d+) issued = \1 recorded \+ 0 declared lost$/m);
    const rebuilt = await lemona(['reconstruct', 'r', '--at', 'end', '--output', 'out.raw'], folder);
    expect(rebuilt.status, rebuilt.stderr).to.equal(0);
  });

  it('while the guest shuts down and the run is sealed: torn, or complete and told so', async () => {
    for (const interruptAt of [/… shutting the guest down/, /✓ shutting the guest down/]) {
      const { status, stderr } = await lemona(record('static-relay', 'true'), folder, { interruptAt });
      expect([status, await stateOf('r')], stderr).to.be.deep.oneOf([
        [130, 'torn'],
        [0, 'complete'],
      ]);
      const stats = await lemona(['stats', 'r'], folder);
      expect(stats.stdout).to.match(/ recorded \+ 0 declared lost$/m);
    }
  });

  it('while a disk is rebuilt or compared, which the run survives unchanged', async () => {
    const work = 'i=0; while [ $i -lt 300 ]; do echo $i > /root/f$i; i=$((i + 1)); done';
    const recorded = await lemona(record('static-relay', 'sh', '-c', work), folder);
    expect(recorded.status, recorded.stderr).to.equal(0);
    const runDir = path.join(folder, 'runs/r');
    const before = (await readdir(runDir)).sort();

    for (const interruptAt of [/restore the checkpoint/, /… replay/]) {
      const args = ['reconstruct', 'r', '--at', 'end', '--output', path.join(folder, 'out/disk.raw')];
      const { status, stderr } = await lemona(args, folder, { interruptAt });
      expect(status, stderr).to.equal(130);
      expect(await readdir(path.join(folder, 'out'))).to.deep.equal([]);
    }
    for (const interruptAt of [/… replay/, /compare at mark/]) {
      const { status, stderr } = await lemona(['verify', 'r', '--all-marks'], folder, { interruptAt });
      expect(status, stderr).to.equal(130);
      expect((await readdir(runDir)).sort()).to.deep.equal(before);
    }
    const verified = await lemona(['verify', 'r', '--all-marks'], folder);
    expect(verified.status, verified.stderr).to.equal(0);
  });
});

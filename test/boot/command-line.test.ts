// SPDX-License-Identifier: MIT
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { ROOT } from '../../lab/cli/invocation.js';
import { LEMONA, lemona } from '../harness/command.js';

describe('./lemona', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-cli-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('works from any folder and through a symbolic link, and says its version', async () => {
    const link = path.join(folder, 'a link');
    await symlink(LEMONA, link);
    const { status, stdout } = await lemona(['--version'], folder, { program: link });
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
});

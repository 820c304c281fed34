// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, mkdtemp, open, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { ownerOf, tryLock } from '../../lab/util/lock.js';

describe('a lock between processes', () => {
  let folder: string;
  let file: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    file = path.join(folder, 'lock');
  });

  afterEach(() => rm(folder, { recursive: true }));

  const old = () => utimes(file, new Date(0), new Date(0));

  it('is held by a process that lives, and by nobody when it is dead', async () => {
    const child = spawn('sleep', ['60']);
    await writeFile(file, `${child.pid}\n`);
    expect(await tryLock(file)).to.equal(child.pid);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(await tryLock(file)).to.equal('taken');
    expect(await tryLock(file)).to.equal(process.pid);
  });

  it('is not held by another process that has got the number of a dead one', async () => {
    await writeFile(file, `${process.pid} 1\n`);
    expect(await tryLock(file)).to.equal('taken');
    expect(await ownerOf(file)).to.equal(process.pid);
    await writeFile(file, `${process.ppid} 1\n`);
    expect(await ownerOf(file)).to.equal(undefined);
  });

  it('that is empty is being made, or was left behind', async () => {
    await writeFile(file, '');
    expect(await tryLock(file)).to.equal(0);
    await old();
    expect(await tryLock(file)).to.equal('taken');
  });

  it('leaves nothing behind when the disk is full', async () => {
    const probe = await open(folder, 'r');
    const handles = Object.getPrototypeOf(probe) as { writeFile: FileHandle['writeFile'] };
    const { writeFile: write } = handles;
    await probe.close();
    handles.writeFile = () => Promise.reject(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
    const error = await tryLock(file).catch((reason: unknown) => reason);
    handles.writeFile = write;
    expect(error).to.have.property('code', 'ENOSPC');
    expect(await readdir(folder)).to.deep.equal([]);
    expect(await tryLock(file)).to.equal('taken');
  });
});

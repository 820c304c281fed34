// SPDX-License-Identifier: MIT
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { cached, cacheKey } from '../../images/cache.js';
import type { BuildContext } from '../../images/context.js';
import { silentLog } from '../../lab/util/log.js';
import { silentProgress } from '../../lab/util/progress.js';
import { failureOf } from '../support/failure.js';

describe('images: cache', () => {
  let cacheDir: string;
  let abort: AbortController;
  let ctx: BuildContext;
  const entry = { area: 'area', name: 'thing', key: 'k' };
  const build = async (temporary: string) => writeFileSync(temporary, 'content');

  beforeEach(() => {
    cacheDir = mkdtempSync(path.join(tmpdir(), 'lemona-test-cache-'));
    abort = new AbortController();
    ctx = { log: silentLog, progress: silentProgress, signal: abort.signal, cacheDir };
  });
  afterEach(() => rmSync(cacheDir, { recursive: true, force: true }));

  const names = () => readdirSync(path.join(cacheDir, 'area'));

  it('builds once and then finds it', async () => {
    let builds = 0;
    const counted = async (temporary: string) => {
      builds++;
      await build(temporary);
    };
    const first = await cached(entry, ctx, counted);
    expect(await cached(entry, ctx, counted)).to.equal(first);
    expect(builds).to.equal(1);
    expect(readFileSync(first, 'utf8')).to.equal('content');
    expect(names()).to.deep.equal(['thing-k']);
  });

  it('leaves nothing behind when the build fails half-way', async () => {
    const failing = async (temporary: string) => {
      mkdirSync(temporary);
      writeFileSync(path.join(temporary, 'half'), 'x');
      throw new Error('broke');
    };
    const error = await cached(entry, ctx, failing).catch((thrown: unknown) => thrown);
    expect(String(error)).to.contain('broke');
    expect(names()).to.deep.equal([]);
  });

  it('says that it cannot be where it is wanted, which is no bug', async () => {
    const error = await failureOf(cached(entry, { ...ctx, cacheDir: '/dev/null' }, build));
    expect([error.exitStatus, error.message]).to.deep.equal([
      3,
      "building thing in /dev/null/area: ENOTDIR: not a directory, mkdir '/dev/null/area'",
    ]);
  });

  it('never shows what an interrupted build made', async () => {
    const interrupted = async (temporary: string) => {
      await build(temporary);
      abort.abort();
    };
    const error = await cached(entry, ctx, interrupted).catch((thrown: unknown) => thrown);
    expect(error).to.have.property('code', 'LAB_ABORTED');
    expect(names()).to.deep.equal([]);
  });

  it('uses what another builder finished first', async () => {
    const slow = async (temporary: string) => {
      mkdirSync(temporary);
      const other = path.join(cacheDir, 'area', 'thing-k');
      mkdirSync(other);
      writeFileSync(path.join(other, 'theirs'), '');
    };
    const found = await cached(entry, ctx, slow);
    expect(existsSync(path.join(found, 'theirs'))).to.equal(true);
    expect(names()).to.deep.equal(['thing-k']);
  });

  it('removes what a killed builder left, but not what a living one works on', async () => {
    const area = path.join(cacheDir, 'area');
    mkdirSync(area);
    // Above the kernel's largest pid.
    mkdirSync(path.join(area, '.tmp-4194305-abcdef'));
    mkdirSync(path.join(area, `.tmp-${process.pid}-abcdef`));
    await cached(entry, ctx, build);
    expect(names().sort()).to.deep.equal([`.tmp-${process.pid}-abcdef`, 'thing-k']);
  });

  it('tells inputs apart that are the same when joined', () => {
    expect(cacheKey(['ab', 'c'])).to.not.equal(cacheKey(['a', 'bc']));
    expect(cacheKey(['ab', Buffer.from('c')])).to.equal(cacheKey(['ab', 'c']));
  });
});

// SPDX-License-Identifier: MIT
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { HashThread } from '../../lab/trace/hash-thread.js';
import { failureOf } from '../support/failure.js';

const sha256 = (...parts: readonly Buffer[]) => createHash('sha256').update(Buffer.concat(parts)).digest('hex');

describe('the hashing thread', () => {
  let thread: HashThread;
  let worker: Worker;
  const failures: string[] = [];

  beforeEach(async () => {
    const begun = once(process, 'worker') as Promise<[Worker]>;
    thread = new HashThread((error) => failures.push(error.message));
    [worker] = await begun;
  });

  afterEach(async () => {
    await thread.close();
    expect(failures).to.deep.equal([]);
  });

  it('gives SHA-256 of what came, and of what came since', async () => {
    const hash = thread.begin();
    expect((await hash.digest()).toString('hex')).to.equal(sha256());
    const first = Buffer.from('first');
    await hash.update(first);
    expect((await hash.digest()).toString('hex')).to.equal(sha256(first));
    const second = Buffer.alloc(12_345_679, 'second');
    await hash.update(second);
    expect((await hash.digest()).toString('hex')).to.equal(sha256(first, second));
  });

  it('keeps many hashes apart that are fed side by side, with bytes of any length', async () => {
    const digests = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const hash = thread.begin();
        const parts = Array.from({ length: 60 }, (_, n) => Buffer.alloc((i * 7919 + n * n * 271) % 300_001, i + n));
        const scratch = Buffer.alloc(300_001);
        for (const part of parts) {
          // The bytes are free to change once they were taken.
          part.copy(scratch);
          await hash.update(scratch.subarray(0, part.length));
        }
        const digest = (await hash.digest()).toString('hex');
        hash.leave();
        return { digest, wanted: sha256(...parts) };
      }),
    );
    for (const { digest, wanted } of digests) expect(digest).to.equal(wanted);
  });

  it('reads nothing that is not written, however the two threads meet', async () => {
    const hash = thread.begin();
    const wanted = createHash('sha256');
    const end = performance.now() + 3000;
    for (let n = 0; performance.now() < end; n++) {
      const bytes = Buffer.alloc(n % 48, n);
      wanted.update(bytes);
      await hash.update(bytes);
      // The thread is now about to sleep, asleep, or behind.
      for (let spins = (n * 31) % 1009; spins > 0; spins--) Math.sqrt(spins);
      if (n % 4096 === 0) expect((await hash.digest()).equals(wanted.copy().digest())).to.equal(true);
    }
    expect((await hash.digest()).equals(wanted.digest())).to.equal(true);
  });

  it('refuses when it has ended, also who waits', async () => {
    const hash = thread.begin();
    const waiting = Promise.all(Array.from({ length: 50 }, () => hash.update(Buffer.alloc(4_000_000))));
    const failed = failureOf(waiting);
    await thread.close();
    expect((await failed).code).to.equal('LAB_BUG');
    expect((await failureOf(hash.digest())).code).to.equal('LAB_BUG');
    // Whoever begins now does without it.
    expect((await thread.begin().digest()).toString('hex')).to.equal(sha256());
  });

  it('leaves no file open, whenever it is ended', async () => {
    for (let n = 0; n < 80; n++) {
      const short = new HashThread((error) => failures.push(error.message));
      await sleep((n * 1.7) % 90);
      await short.close();
    }
    const files = (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''));
    expect((await Promise.all(files)).filter((file) => file.includes('hash-worker'))).to.deep.equal([]);
  });

  it('says once that it is lost; who begins then does without it', async () => {
    const hash = thread.begin();
    expect((await hash.digest()).toString('hex')).to.equal(sha256());
    await worker.terminate();
    expect((await failureOf(hash.digest())).code).to.equal('LAB_BUG');
    expect((await thread.begin().digest()).toString('hex')).to.equal(sha256());
    await thread.close();
    expect(failures.splice(0).length).to.equal(1);
  });
});

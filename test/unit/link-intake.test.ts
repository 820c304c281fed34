// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { WIRE_REKEY_MESSAGES } from '../../lab/abi/wire.js';
import { Intake, usedByIntakes } from '../../lab/link/intake.js';
import { FRAME, frame, MODE, packWire } from '../../lab/link/wire.js';
import { Sha256x16 } from '../../lab/trace/sha256x16.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { LabError } from '../../lab/util/errors.js';
import { fileOf, socketPair, takeBy } from '../support/intake-rig.js';
import { info, subbuf } from '../support/trace-builder.js';
import { SIM_BOOT, testFolder, testIntake } from '../support/wire-point.js';

const MODES = [
  ['plain', MODE.PLAIN],
  ['noise', MODE.NOISE],
] as const;

const beat = Buffer.concat(frame(FRAME.HEARTBEAT, packWire('lemona_wire_status', { queued: 7 })));

function subbufs(count: number, size: (i: number) => number): Buffer[] {
  return Array.from({ length: count }, (_, i) =>
    subbuf([info('x'.repeat(size(i)))], { cpu: i % 3, number: BigInt(i), bootId: SIM_BOOT }),
  );
}

describe('the intake', () => {
  let folder: string;
  let program: string;

  before(async function () {
    this.timeout(60_000);
    program = await testIntake();
    folder = await testFolder();
  });

  after(() => rm(folder, { recursive: true }));

  for (const [name, mode] of MODES) {
    it(`takes frames whose bytes come cut anywhere, ${name}`, async function () {
      this.timeout(30_000);
      const sent = subbufs(30, (i) => (i * 37) % 500);
      const plain = sent.flatMap((bytes) => [Buffer.concat(frame(FRAME.SUBBUF, bytes)), beat]);
      for (const step of [1, 2, 7, 100, 5000]) {
        const some = step === 1 ? plain.slice(0, 12) : plain;
        const { said, appended } = await takeBy({ program, folder, mode, plain: some, step });
        expect(appended.equals(Buffer.concat(sent.slice(0, some.length / 2))), `step ${step}`).to.equal(true);
        expect(said.filter((word) => word.said === 'frame')).to.have.length(some.length / 2);
        expect(said.at(-1)).to.deep.equal({ said: 'end', status: 0, why: 'closed by the driver' });
      }
    });

    it(`hashes what it appended, up to the next lease, ${name}`, async () => {
      const sent = subbufs(20, () => 60_000);
      const plain = sent.map((bytes) => Buffer.concat(frame(FRAME.SUBBUF, bytes)));
      const half = Buffer.concat(sent.slice(0, 10));
      const extra = Buffer.from('a footer');
      const { digest, appended, said } = await takeBy({ program, folder, mode, plain, limit: half.length, extra });
      expect(said.filter((word) => word.said === 'want')).to.have.length(2);
      expect(appended.equals(Buffer.concat(sent))).to.equal(true);
      expect(digest?.toString('hex')).to.equal(new Sha256x16().update(fileOf(half, extra)).digest().toString('hex'));
    });
  }

  it('says at its end what it used, which is not what the process that began it used', async () => {
    // On a disk: what is written to a file system of memory is not counted.
    const onDisk = await mkdtemp(path.join(import.meta.dirname, 'lemona-test-'));
    try {
      const sent = subbufs(40, () => 60_000);
      const plain = sent.map((bytes) => Buffer.concat(frame(FRAME.SUBBUF, bytes)));
      // More than any intake has.
      const large = Buffer.alloc(96 * 2 ** 20, 1);
      const before = usedByIntakes();
      const { appended } = await takeBy({ program, folder: onDisk, mode: MODE.NOISE, plain });
      const after = usedByIntakes();
      expect(after.cpuSeconds).to.be.greaterThan(before.cpuSeconds);
      // The file's first page was written before.
      expect(after.writtenBytes - before.writtenBytes).to.be.at.least(appended.length - 4096);
      expect(after.peakBytes).to.be.within(2 ** 19, large.length / 2);
    } finally {
      await rm(onDisk, { recursive: true });
    }
  });

  it('renews its key when the driver does', async function () {
    this.timeout(30_000);
    const [last = Buffer.alloc(0)] = subbufs(1, () => 10);
    const plain = [...Array<Buffer>(2 * WIRE_REKEY_MESSAGES).fill(beat), Buffer.concat(frame(FRAME.SUBBUF, last))];
    const { appended, said } = await takeBy({ program, folder, mode: MODE.NOISE, plain });
    expect(said.at(-1)).to.include({ said: 'end', status: 0 });
    expect(appended.equals(last)).to.equal(true);
  });

  it('leaves nothing open, and no one waiting, when it is killed', async () => {
    const files = async () => (await readdir('/proc/self/fd')).length;
    const before = await files();
    for (let i = 0; i < 5; i++) {
      const [near, far] = await socketPair();
      const intake = new Intake(program, near, {
        ...{ mode: MODE.PLAIN, cpus: 1, bootId: SIM_BOOT, silenceMs: 20_000, stored: new Map() },
        ...{ cipher: undefined, first: Buffer.alloc(0) },
      });
      const heard = intake.listen(async () => {}).catch((error: unknown) => error);
      intake.kill();
      expect(await heard).to.be.instanceOf(LabError);
      expect(await intake.digest({ path: '/nowhere', end: 0 }, Buffer.alloc(0))).to.equal(undefined);
      near.destroy();
      far.destroy();
    }
    for (let i = 0; i < 3; i++) await takeBy({ program, folder, mode: MODE.PLAIN, plain: [beat] });
    await pollUntil(async () => (await files()) <= before || undefined, { label: 'its files', timeoutMs: 3000 });
  });

  it('cuts off what stands behind the place that it is lent', async () => {
    const plain = subbufs(3, () => 100).map((bytes) => Buffer.concat(frame(FRAME.SUBBUF, bytes)));
    const { fileBytes, appended } = await takeBy({
      program,
      folder,
      mode: MODE.PLAIN,
      plain,
      behind: Buffer.alloc(5000, 7),
    });
    expect(fileBytes).to.equal(fileOf(appended, Buffer.alloc(0)).length);
  });
});

// SPDX-License-Identifier: MIT
/**
 * The replay agent meets hostile effects: its own C code under ASan and UBSan, on the host, with a scratch folder for
 * a disk (test/fuzz/agent/harness.c). LEMONA_FUZZ_PLANS says how many plans; LEMONA_SEED repeats them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { AT, FLAG, KIND, SIZE } from '../../lab/abi/layout.js';
import { REC_KIND_SHIFT } from '../../lab/abi/records.js';
import { buildAgentHarness, whyNoSanitizers } from '../harness/agent.js';
import { sh } from '../harness/sh.js';
import { skip } from '../harness/skip.js';
import * as b from '../support/trace-builder.js';
import { hostilePlan, packPlans, planOf } from './plans.js';
import { Random } from './random.js';
import { SEED_FRAMES } from './seeds.js';

const PLANS = Number(process.env.LEMONA_FUZZ_PLANS ?? 10_000);
const SEED = Number(process.env.LEMONA_SEED ?? 1 + Math.floor(Math.random() * 1_000_000));
/** Plans that one harness gets. */
const BATCH = 500;

/** Just enough of an ext4: two inodes without a name, 12 and 13, each the next of the other. */
function diskWithOrphanCycle(): Buffer {
  const disk = Buffer.alloc(64 * 1024);
  const sb = disk.subarray(1024);
  sb.writeUInt16LE(0xef53, 56);
  sb.writeUInt32LE(1, 20);
  sb.writeUInt32LE(32, 40);
  sb.writeUInt16LE(128, 88);
  sb.writeUInt32LE(12, 232);
  const tableBlock = 8;
  disk.writeUInt32LE(tableBlock, 2 * 1024 + 8);
  for (const [ino, next] of [
    [12, 13],
    [13, 12],
  ] as const)
    disk.writeUInt32LE(next, tableBlock * 1024 + (ino - 1) * 128 + 20);
  return disk;
}

describe(`the replay agent (LEMONA_SEED=${SEED})`, () => {
  let folder = '';
  let program: string | undefined;
  let why: string | undefined;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-agent-'));
    // The harness gives root's rights up before it applies anything.
    await chmod(folder, 0o711);
    why = await whyNoSanitizers(folder);
    if (why === undefined) program = await buildAgentHarness(folder);
  });

  after(() => rm(folder, { recursive: true, force: true }));

  /** What the harness says of some plans: the numbers of bad ones, and what a sanitizer saw first. */
  async function apply(plans: readonly Buffer[]): Promise<{ said: string; complaints: string }> {
    const scratch = path.join(folder, 'scratch');
    await mkdir(scratch, { recursive: true });
    const child = spawn(program ?? '', [scratch], { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    let complaints = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      // Every plan that the agent refuses is named there too; a sanitizer's first words are what counts.
      const text = chunk.toString('latin1');
      if (complaints.length < 20_000 && /Sanitizer|runtime error|#\d /.test(text)) complaints += text;
    });
    child.stdin.end(packPlans(plans));
    await once(child, 'close');
    await rm(scratch, { recursive: true, force: true });
    return { said, complaints };
  }

  it('reads no further than a TAINT, whatever it says of its text', async function () {
    if (program === undefined) skip(this, why ?? '');
    const taint = b.taint({ seq: 1n }, FLAG.TAINT_IOCTL, 'short');
    taint.writeUInt32LE(2 ** 31, AT.lemona_taint.text_len);
    const head = Buffer.from(taint.subarray(0, SIZE.lemona_effect));
    head.writeUInt32LE(head.length + KIND.EFFECT * 2 ** REC_KIND_SHIFT, AT.lemona_rec.size_kind);
    expect(await apply([planOf([taint]), planOf([head])])).to.deep.equal({ said: '2 plans, 0 bad\n', complaints: '' });
  });

  it('follows no name out of the disk', async function () {
    if (program === undefined) skip(this, why ?? '');
    const outside = path.join(folder, 'outside');
    await mkdir(outside, { recursive: true });
    await chmod(outside, 0o777);
    const names = [`../../outside/a`, path.join(outside, 'b'), '..', '.', '', 'nul\0', '../../outside'];
    const plans = names.map((name) =>
      planOf([b.dentry('CREATE', { seq: 1n, ino: 20n, name }), b.write({ seq: 2n, ino: 20n }, 0n, 'x')]),
    );
    expect((await apply(plans)).said).to.equal(`${names.length} plans, 0 bad\n`);
    expect(await readdir(outside)).to.deep.equal([]);
  });

  it('comes to an end in an orphan chain that bites its own tail', async function () {
    if (program === undefined) skip(this, why ?? '');
    const disk = path.join(folder, 'orphans.raw');
    await writeFile(disk, diskWithOrphanCycle());
    expect((await sh`${program} --orphans ${disk}`).stdout).to.equal('2 orphans\n');
  });

  it(`keeps within its records in ${PLANS} hostile plans`, async function () {
    if (program === undefined) skip(this, why ?? '');
    const random = new Random(SEED);
    for (let done = 0; done < PLANS; done += BATCH) {
      const plans = Array.from({ length: Math.min(BATCH, PLANS - done) }, () => hostilePlan(random, SEED_FRAMES));
      const { said, complaints } = await apply(plans);
      expect(said, `plans ${done} on: ${complaints}`).to.equal(`${plans.length} plans, 0 bad\n`);
    }
  });
});

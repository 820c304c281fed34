// SPDX-License-Identifier: MIT
/** A rebuild across lost effects names what it can't vouch for, and is right about all the rest. */
import { cp } from 'node:fs/promises';
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { describeUnvouched } from '../../replay/unvouched.js';
import { isNothingKnown, type VerifyRunResult } from '../../replay/verify.js';
import { describeVerdict, useBench } from '../harness/boot.js';
import { PROJECTS_AND_QUOTAS, withFeatures } from '../harness/features.js';
import { guestProgram } from '../harness/program.js';
import { loseEffects } from '../support/lose-effects.js';

/** Everything is right that is not named. */
function expectRight(result: VerifyRunResult): void {
  expect(describeVerdict(result)).to.equal('');
  expect(result.replay.first.map((m) => `${m.op} ${m.seq}: ${m.what}`)).to.deep.equal([]);
  expect(result.isEqual).to.equal(true);
}

describe('a rebuild across lost effects', () => {
  const bench = useBench();

  it('goes by what the driver notes of its own losses', async () => {
    // Much content in few files: the driver's table of notes holds them all.
    const script = `cd /root; echo before > before
for f in a b; do dd if=/dev/zero of=$f bs=4k count=4000 2>/dev/null & done; wait
for f in a b; do dd if=/dev/urandom of=$f bs=64k seek=10 count=5 conv=notrunc 2>/dev/null; done; echo after > after`;
    const { manifest, output } = await bench().record('r', script, {
      smp: 2,
      kernelArgs: ['lemona.lossy=1', 'lemona.pool_mb=0', 'lemona.subbuf_kb=64'],
    });
    expect(manifest.exitStatus, output).to.equal(0);
    const result = await bench().verify('r');
    const end = result.marks.at(-1);
    process.stderr.write(
      `    ${result.replay.gaps.length} gaps, ${end?.unvouched.length} paths named, ${end?.compared} compared, ${end?.leftOut} left out\n`,
    );
    expect(result.replay.gaps.length, 'a load that fits shows nothing').to.be.greaterThan(0);
    expect(isNothingKnown(end?.unvouched ?? []), 'the notes speak of every lost effect').to.equal(false);
    expect(describeVerdict(result)).to.equal('');
    expect(result.replay.first.map((m) => `${m.op} ${m.seq}: ${m.what}`)).to.deep.equal([]);
    expect(result.isEqual).to.equal(true);
  });

  it('knows what is inherited, and vouches for nothing where it is not known what was lost', async () => {
    const program = await guestProgram('inherit', bench().folder);
    const script = 'chmod +x /root/inherit; mkdir /root/p; cd /root/p && /root/inherit && rm none';
    const { manifest, output } = await bench().record('flags', script, {
      copyIn: [{ source: program, destination: '/root/inherit' }],
      tune: withFeatures(PROJECTS_AND_QUOTAS),
    });
    expect(manifest.exitStatus, output).to.equal(0);
    await cp(bench().runDir('flags'), bench().runDir('hidden'), { recursive: true });

    let isNow = false;
    const lost = await loseEffects(bench().runDir('flags'), (effect) => {
      isNow ||= effect.op === 'CREATE' && effect.name.toString() === 'now';
      return isNow && effect.op === 'SETATTR' && (effect.valid & FLAG.VALID_FSFLAGS) !== 0;
    });
    expect(lost.length).to.equal(2);
    const result = await bench().verify('flags');
    expectRight(result);
    expect(result.marks.at(-1)?.unvouched.map(describeUnvouched)).to.deep.equal([
      '/root/p/off: attributes; times; xattrs',
      '/root/p/on: attributes; times; xattrs',
    ]);

    await loseEffects(
      bench().runDir('hidden'),
      (effect) => effect.op === 'UNLINK',
      () => [],
    );
    const hidden = await bench().verify('hidden');
    expect(isNothingKnown(hidden.marks[0]?.unvouched ?? [])).to.equal(true);
    expect(hidden.isEqual).to.equal(false);
  });
});

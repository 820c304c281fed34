// SPDX-License-Identifier: MIT
/** A rebuild across lost effects names what it can't vouch for, and is right about all the rest. */
import { expect } from 'chai';
import { isNothingKnown } from '../../replay/verify.js';
import { describeVerdict, useBench } from '../harness/boot.js';
import { loseEffects } from '../support/lose-effects.js';

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

  it('vouches for nothing where it is not known what was lost', async () => {
    await bench().record('r', 'cd /root; for i in 1 2 3 4 5; do echo $i > f$i; done; rm f3');
    await loseEffects(
      bench().runDir('r'),
      (effect) => effect.op === 'UNLINK',
      () => [],
    );
    const result = await bench().verify('r');
    expect(isNothingKnown(result.marks[0]?.unvouched ?? [])).to.equal(true);
    expect(result.isEqual).to.equal(false);
  });
});

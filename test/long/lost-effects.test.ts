// SPDX-License-Identifier: MIT
/** A rebuild across random lost effects names what it can't vouch for, and is right about all the rest. */
import { cp } from 'node:fs/promises';
import { expect } from 'chai';
import { isNothingKnown } from '../../replay/verify.js';
import { describeVerdict, type GuestOptions, testSeed, useBench } from '../harness/boot.js';
import { PROJECTS_AND_QUOTAS, withFeatures } from '../harness/features.js';
import { guestProgram } from '../harness/program.js';
import { loseEffects, notesOf } from '../support/lose-effects.js';

const SCRIPT = (seed: number) => `
chmod +x /root/exerciser
( n=0; while [ ! -e /run/stop ]; do lemona-mark m$n || exit 99; n=$((n + 1)); sleep 1; done ) &
/root/exerciser /root/play 4 400 ${seed}
touch /run/stop
wait
`;

/** How many to run; a given one is run alone. */
const SEEDS = process.env.LEMONA_SEED === undefined ? Number(process.env.LEMONA_SEEDS ?? 3) : 1;

/** Effects that a driver may lose and that say something about files. */
const LOSABLE =
  /^(WRITE|PAGE|SETATTR|CREATE|MKNOD|MKDIR|SYMLINK|TMPFILE|LINK|UNLINK|RMDIR|RENAME|FALLOCATE|XATTR|GONE)$/;

function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** What a boot is like: a seed chooses. */
const VARIANTS: readonly GuestOptions[] = [{ tune: withFeatures(PROJECTS_AND_QUOTAS) }, {}];

describe('a rebuild across random lost effects', () => {
  const bench = useBench();

  const recordWhole = async (seed: number) => {
    const program = await guestProgram('exerciser', bench().folder);
    const { manifest, output } = await bench().record('whole', SCRIPT(seed), {
      smp: 2,
      copyIn: [{ source: program, destination: '/root/exerciser' }],
      ...VARIANTS[seed % VARIANTS.length],
    });
    expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
  };

  for (let i = 0; i < SEEDS; i++) {
    // One title for all of them: with its seed, it is what reproduces a failure.
    it('names what they were about, and is right about all the rest', async () => {
      const seed = testSeed();
      await recordWhole(seed);
      for (const share of [0.001, 0.02]) {
        const name = `lossy-${share}`;
        await cp(bench().runDir('whole'), bench().runDir(name), { recursive: true });
        const draw = random(seed);
        const lost = await loseEffects(bench().runDir(name), (effect) => LOSABLE.test(effect.op) && draw() < share);
        expect(lost.length).to.be.greaterThan(0);
        const result = await bench().verify(name);
        const about = `LEMONA_SEED=${seed}, ${lost.length} lost`;
        expect(describeVerdict(result), about).to.equal('');
        expect(
          result.replay.first.map((m) => `${m.op} ${m.seq}: ${m.what}`),
          about,
        ).to.deep.equal([]);
        expect(result.isEqual, about).to.equal(true);
        const end = result.marks.at(-1);
        // A few may all be about files that are gone by then.
        if (share > 0.01) expect(end?.unvouched.length, about).to.be.greaterThan(0);
        expect(isNothingKnown(end?.unvouched ?? []), about).to.equal(false);
        expect(end?.compared, about).to.be.greaterThan(end?.leftOut ?? 0);
        process.stderr.write(
          `    ${about}: ${end?.unvouched.length} paths named, ${end?.compared} compared, ${end?.leftOut} left out\n`,
        );
      }
    });
  }

  it('finds what was counted and not named: the comparison can fail', async () => {
    await recordWhole(testSeed());
    await loseEffects(
      bench().runDir('whole'),
      (effect) => effect.op === 'RENAME' || effect.op === 'UNLINK',
      (effect) => notesOf(effect).map((note) => ({ ...note, what: 0 })),
    );
    expect((await bench().verify('whole')).isEqual).to.equal(false);
  });
});

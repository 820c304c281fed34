import { expect } from 'chai';
import { describeMismatch } from '../../replay/control.js';
import { accountOf, blameSeed, describeVerdict, type GuestOptions, testSeed, useBench } from '../harness/boot.js';
import { describeDivergence, seedToBlame } from '../harness/divergence.js';
import {
  BLOCK_MAPS,
  CLUSTERS,
  EA_INODES,
  INLINE_DATA,
  LEFT_INODE,
  laidOut,
  PROJECTS_AND_QUOTAS,
  SMALL_BLOCKS,
  SMALL_INODES,
  withFeatures,
} from '../harness/features.js';
import { guestProgram } from '../harness/program.js';

/** Of two threads each. */
const PROCESSES = 6;
/** Of each thread. */
const STEPS = 300;
/** The acceptance has 200. A given seed is run alone. */
const SEEDS = process.env.LEMONA_SEED === undefined ? Number(process.env.LEMONA_SEEDS ?? 3) : 1;
/** They have folders of their own on one disk. */
const SEEDS_A_BOOT = 5;
/** Steps to leave out, as `,mapped,chattr,`: helps to find out which one a failing seed needs. */
const WITHOUT = process.env.LEMONA_WITHOUT ?? '';
interface Variant extends GuestOptions {
  /** Steps to leave out. */
  readonly without?: string;
  /** What the record may say that it does not vouch for; the rebuild has to be exact all the same. */
  readonly taint?: RegExp;
}

/** What a boot is like: a seed chooses, and all seeds of a boot choose the same. */
const VARIANTS: readonly Variant[] = [
  {},
  // Sent after a few effects.
  { kernelArgs: ['lemona.pool_mb=1', 'lemona.subbuf_kb=96'] },
  { tune: withFeatures(EA_INODES) },
  { tune: withFeatures(PROJECTS_AND_QUOTAS) },
  { tune: laidOut(SMALL_BLOCKS) },
  { tune: laidOut(SMALL_BLOCKS), mountOptions: 'nodioread_nolock' },
  // Linux 6.12 itself loses what is written to a file in its inode after these: blocks come back from the journal.
  {
    tune: laidOut(INLINE_DATA),
    without: ',mapped,mapped-child,direct-mapped,fallocate,',
    // A file that grows leaves its inode in the same way.
    taint: LEFT_INODE,
  },
  { tune: laidOut(CLUSTERS) },
  { tune: laidOut(BLOCK_MAPS) },
  { tune: laidOut(SMALL_INODES) },
  { mountOptions: 'data=journal' },
  // Linux 6.12 itself loses the end of a write whose source ends early here; see linux-falls.test.ts.
  { tune: laidOut(SMALL_BLOCKS), mountOptions: 'data=journal', without: ',faulting,' },
  // Only without delayed allocation does this flag of a file mean anything; see linux-falls.test.ts.
  { mountOptions: 'nodelalloc', without: ',journal-data,' },
  { mountOptions: 'nodelalloc', without: ',mapped,mapped-child,direct-mapped,' },
  { mountOptions: 'nodioread_nolock' },
  { tune: laidOut({ blockBytes: 2048 }) },
  { mountOptions: 'data=writeback' },
];

/** Marks at instants that nobody planned. */
const script = (seeds: readonly number[], without: string) => `
chmod +x /root/exerciser
( n=0; while [ ! -e /run/stop ]; do lemona-mark m$n || exit 99; n=$((n + 1)); sleep 0.$((n % 5 + 3)); done ) &
status=0
for seed in ${seeds.join(' ')}; do
  /root/exerciser /root/play-$seed ${PROCESSES} ${STEPS} $seed ${WITHOUT}${without} || { echo "seed $seed failed"; status=1; }
done
touch /run/stop
wait
exit $status
`;

describe('a filesystem exerciser that races on four CPUs', () => {
  const bench = useBench();

  for (let from = 0; from < SEEDS; from += SEEDS_A_BOOT) {
    // One title for all of them: with its seed, it is what reproduces a failure.
    it('is rebuilt exactly at every mark', async () => {
      const first = testSeed();
      const seeds = Array.from({ length: Math.min(SEEDS_A_BOOT, SEEDS - from) }, (_, i) => first + i * VARIANTS.length);
      const program = await guestProgram('exerciser', bench().folder);
      const { without = '', taint, ...options } = VARIANTS[first % VARIANTS.length] ?? {};
      const { manifest, output } = await bench().record('r', script(seeds, without), {
        smp: 4,
        keepsMemory: true,
        copyIn: [{ source: program, destination: '/root/exerciser' }],
        ...options,
      });
      expect(manifest.exitStatus, output).to.equal(0);
      expect(manifest.marks.length).to.be.at.least(4);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r', { strict: true });
      if (!result.isEqual) {
        blameSeed(seedToBlame(result, seeds));
        process.stderr.write(`${await describeDivergence(bench().runDir('r'), result, bench().ctx)}\n`);
      }
      expect(describeVerdict(result)).to.equal('');
      expect(result.replay.first.map(describeMismatch)).to.deep.equal([]);
      expect(result.isEqual).to.equal(true);
      const taints = result.replay.taints.filter(({ text }) => taint?.test(text) !== true);
      expect(taints.map(({ text }) => text)).to.deep.equal([]);
      process.stderr.write(
        `      seeds ${seeds.join(', ')}: ${result.replay.applied} effects, ${result.marks.length} marks\n`,
      );
    });
  }
});

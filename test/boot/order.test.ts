// SPDX-License-Identifier: MIT
/**
 * The order of effects under races. The guest keeps each trial's result; a rebuilt disk that has the same results, at
 * marks that fall anywhere, has every order right.
 */
import { expect } from 'chai';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';

/** Of each mode; the acceptance has 10,000. */
const TRIALS = Number(process.env.LEMONA_TRIALS ?? 400);
/** As small as the driver takes them: a sub-buffer is sent, and the next one begun, after a few effects. */
const TINY_BUFFERS = ['lemona.pool_mb=1', 'lemona.subbuf_kb=96'];
const MINUTE_MS = 60_000;

const MODES = [
  { mode: 'append', what: 'appends to one file' },
  { mode: 'overlap', what: 'writes that overlap' },
  { mode: 'rename', what: 'renames over each other, and exchanges' },
  { mode: 'links', what: 'links and unlinks of one name' },
  { mode: 'truncate', what: 'truncation against writes against mapped stores' },
] as const;

const script = (mode: string, seed: number) => `
chmod +x /root/order; mkdir /root/w; cd /root/w
( n=0; while [ ! -e /run/stop ]; do sleep 0.$((n % 7 + 1)); lemona-mark m$n >&2 || exit 99; n=$((n + 1)); done ) 2>/dev/null &
marks=$!
/root/order ${mode} ${TRIALS} ${seed}
status=$?
touch /run/stop
wait $marks && exit $status
`;

/** `append 400 101 99 98 102 0`: how often each of the workers was the last one, and, at the end, nobody. */
function winnersOf(output: string): number[] {
  const words = output.trim().split(' ').map(Number);
  return words.slice(2);
}

describe('the order of effects on four CPUs with tiny buffers', function () {
  const bench = useBench();
  this.timeout(20 * MINUTE_MS + TRIALS * 200);

  for (const { mode, what } of MODES) {
    it(`is the one that happened: ${TRIALS} trials of ${what}`, async () => {
      const seed = testSeed();
      const program = await guestProgram('order', bench().folder);
      const { manifest, output } = await bench().record('r', script(mode, seed), {
        smp: 4,
        keepsMemory: true,
        copyIn: [{ source: program, destination: '/root/order' }],
        kernelArgs: TINY_BUFFERS,
      });
      expect(manifest.exitStatus, output).to.equal(0);
      const winners = winnersOf(output);
      expect(
        winners.reduce((sum, won) => sum + won, 0),
        output,
      ).to.equal(TRIALS);
      expect(
        winners.slice(0, -1).filter((won) => won > 0),
        `no race: ${output}`,
      ).to.have.length.of.at.least(2);
      const account = await accountOf(bench().runDir('r'));
      expect(account.isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(describeVerdict(result)).to.equal('');
      expect(result.isEqual).to.equal(true);
      expect(result.replay.taintCount).to.equal(0n);
      expect(result.marks.length).to.be.at.least(2);
      process.stderr.write(
        `      ${output.trim()} (last: workers 0 to 3, nobody); ${account.effects} effects, ` +
          `${result.marks.length} marks, ${result.differences} differences\n`,
      );
    });
  }
});

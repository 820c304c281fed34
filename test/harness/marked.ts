// SPDX-License-Identifier: MIT
/** Work of a guest that is marked at random instants, and rebuilt at every one of them. */
import { expect } from 'chai';
import { accountOf, type Bench, describeVerdict, type GuestOptions, testSeed } from './boot.js';

/** A bash script that takes marks as long as the work goes on, and until there are enough: the longer, the fewer a minute. */
function markedScript(work: string, seed: number, wantedMarks: number): string {
  return `
set -u
export SEED=${seed} HOME=/root LC_ALL=C
RANDOM=${seed}
mkdir -p /root/work && cd /root/work
( set -eu; ${work}
) &
work=$!
n=0
while kill -0 $work 2>/dev/null || [ $n -lt ${wantedMarks} ]; do
  sleep $((RANDOM % (SECONDS / 20 + 1))).$((RANDOM % 9 + 1))
  lemona-mark m$n || exit 99
  n=$((n + 1))
done
wait $work
`;
}

/** Records the work on two CPUs; nothing of it may be lost, and no mark may differ from its rebuild. */
export async function expectExact(
  bench: Bench,
  work: string,
  wantedMarks: number,
  options: GuestOptions,
): Promise<void> {
  const seed = testSeed();
  const { manifest, output } = await bench.record('r', markedScript(work, seed, wantedMarks), {
    smp: 2,
    keepsMemory: true,
    command: ['bash', '/root/test.sh'],
    ...options,
  });
  expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
  expect(manifest.marks.length).to.be.at.least(wantedMarks);
  expect((await accountOf(bench.runDir('r'))).isComplete).to.equal(true);
  const result = await bench.verify('r');
  expect(describeVerdict(result), `LEMONA_SEED=${seed}`).to.equal('');
  expect(result.isEqual).to.equal(true);
  process.stderr.write(`      ${result.marks.length} marks, ${result.replay.applied} effects\n`);
}

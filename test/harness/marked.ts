// SPDX-License-Identifier: MIT
/** A bash script that takes marks at random instants as long as the work goes on, and until there are enough. */
export function markedScript(work: string, seed: number, wantedMarks: number): string {
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
  sleep 0.$((RANDOM % 9 + 1))
  lemona-mark m$n || exit 99
  n=$((n + 1))
done
wait $work
`;
}

// SPDX-License-Identifier: MIT
import { benchReplay, type Timing } from '../../bench/replay.js';
import type { Invocation } from '../invocation.js';

const ROUNDS = { default: 12_000, quick: 2_000 } as const;

/** `our recording     3.41 s   1.2 × the original   7.90 s whole  12.3 MB of record`. Pure. */
export function describeTiming(timing: Timing): string {
  const { name, seconds, ratio, wholeSeconds, bytes, broke } = timing;
  const took = seconds === null ? '-' : `${seconds.toFixed(2)} s`;
  const times = ratio === null || name === 'original' ? '' : `${ratio.toFixed(2)} × the original`;
  const size = bytes === null ? '' : `${(bytes / 1e6).toFixed(1)} MB of record`;
  const whole = wholeSeconds === null ? '' : `${wholeSeconds.toFixed(2)} s whole`;
  const line = `${name.padEnd(18)}${took.padStart(10)}  ${times.padEnd(22)}${whole.padStart(14)}  ${size}`.trimEnd();
  return broke === null ? line : `${line}  BROKE: ${broke}`;
}

/** `bench replay`: a replay of QEMU's that breaks is a finding, not a failure of ours. */
export async function run(invocation: Invocation): Promise<number> {
  const { out } = invocation;
  const rounds = invocation.bool('quick') ? ROUNDS.quick : ROUNDS.default;
  const result = await benchReplay({ rounds }, invocation.context());
  if (invocation.json) {
    await out.json(result);
    return 0;
  }
  await out.line(
    `${result.effects} effects on files, one emulated CPU; times are those of the work, without the boot,`,
  );
  await out.line(`but of all of our rebuilding, its boot included (${result.effectsPerSecond} effects/s applied)`);
  await out.line('');
  for (const timing of result.timings) await out.line(describeTiming(timing));
  return 0;
}

// SPDX-License-Identifier: MIT
import type { Workload } from '../workload.js';

/** Rounds of each: tens of millions of instructions, so that what differs from boot to boot is less than a thousandth. */
const ROUNDS = {
  null: 50_000,
  'write-1': 20_000,
  'write-4096': 8_000,
  'write-65536': 1_000,
  'read-1': 20_000,
  'read-4096': 20_000,
  'read-65536': 4_000,
  'open-close': 10_000,
  stat: 20_000,
  'fork-exec': 400,
  'ping-pong': 5_000,
  switch: 20_000,
  'map-store': 8_000,
  'small-file': 1_500,
} as const;

const QUICK_PART = 5;

export const workload: Workload = {
  name: 'micro',
  about: 'one small thing many times: a null call, reads and writes, processes, switches, mapped stores, small files',
  image: 'tiny',
  memoryMiB: 512,
  script: (size) =>
    Object.entries(ROUNDS)
      .map(([name, rounds]) => `micro ${name} ${size === 'quick' ? rounds / QUICK_PART : rounds}`)
      .join('\n'),
};

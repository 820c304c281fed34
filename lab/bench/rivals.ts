// SPDX-License-Identifier: MIT
/**
 * Other recorders, to be compared with: each runs in vanilla's guest, on the same work, and is chosen as a configuration is.
 * A recorder more is a row more, if the guest's kernel and the workload's image have what it needs.
 */
import { CONFIG_NAMES, type ConfigName, findConfig, RUN_CONFIGS, type RunConfig } from '../run/configs.js';
import { LabError } from '../util/errors.js';

/** What the guest's recorders write; on the traced disk, as a user would have it. */
const RECORD = '/root/record';

export const RIVALS = {
  // Of each call, but of what its arguments lead to only the first 32 bytes.
  strace: ['strace', '-f', '-o', RECORD],
  // Whole structures and whole buffers.
  'strace-whole': ['strace', '-f', '-v', '-s', '1048576', '-o', RECORD],
} as const satisfies Record<string, readonly [string, ...string[]]>;

export type RivalName = keyof typeof RIVALS;
export type BenchConfigName = ConfigName | RivalName;

export const RIVAL_NAMES = Object.keys(RIVALS) as readonly RivalName[];
export const BENCH_CONFIG_NAMES: readonly BenchConfigName[] = [...CONFIG_NAMES, ...RIVAL_NAMES];

export interface BenchConfig {
  readonly name: BenchConfigName;
  /** Which guest is booted. */
  readonly run: RunConfig & { readonly name: ConfigName };
  /** Command that the work is run under. */
  readonly under: readonly string[];
}

function isRival(name: string): name is RivalName {
  return Object.hasOwn(RIVALS, name);
}

/** The configuration or rival of that name; an unknown one is a usage error that names the others. */
export function benchConfig(name: string): BenchConfig {
  if (isRival(name)) return { name, run: findConfig('vanilla'), under: RIVALS[name] };
  if (!Object.hasOwn(RUN_CONFIGS, name)) {
    throw new LabError('LAB_CONFIG_UNKNOWN', `there is no configuration '${name}'`, {
      next: `choose of: ${BENCH_CONFIG_NAMES.join(', ')}`,
    });
  }
  const run = findConfig(name);
  return { name: run.name, run, under: [] };
}

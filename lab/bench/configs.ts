// SPDX-License-Identifier: MIT
/** What the bench can measure: the lab's configurations, and rivals, each with what its cost is measured against. */
import type { ImageKind } from '../../images/build.js';
import { CONFIG_NAMES, type ConfigName, findConfig, type RunConfig } from '../run/configs.js';
import type { KernelArtifact } from '../run/record-options.js';
import { LabError } from '../util/errors.js';
import { findRival, RIVAL_NAMES, type Rival, type RivalName } from './rivals.js';

/** A kernel and an image with what rivals need, and none at work: what rivals are compared with. */
export const TRACEABLE = 'vanilla-traceable';

export type BaselineName = 'vanilla' | typeof TRACEABLE;
export type BenchConfigName = ConfigName | typeof TRACEABLE | RivalName;

/** In the order of a report: configurations of one baseline follow it. */
export const BENCH_CONFIG_NAMES: readonly BenchConfigName[] = [...CONFIG_NAMES, TRACEABLE, ...RIVAL_NAMES];
export const BASELINES: readonly BaselineName[] = ['vanilla', TRACEABLE];

export interface BenchConfig {
  readonly name: BenchConfigName;
  /** Which guest is booted. */
  readonly run: RunConfig & { readonly name: ConfigName };
  readonly flavour: KernelArtifact['flavour'];
  /** In place of the workload's own. */
  readonly image?: ImageKind;
  readonly rival?: Rival;
}

/** What a configuration's cost is measured against. Costs of different baselines are never put side by side. */
export function baselineOf(name: BenchConfigName): BaselineName {
  return name === TRACEABLE || findRival(name) !== undefined ? TRACEABLE : 'vanilla';
}

/** The configuration or rival of that name; an unknown one is a usage error that names the others. */
export function benchConfig(name: string): BenchConfig {
  const known = BENCH_CONFIG_NAMES.find((one) => one === name);
  if (known === undefined) {
    throw new LabError('LAB_CONFIG_UNKNOWN', `there is no configuration '${name}'`, {
      next: `choose of: ${BENCH_CONFIG_NAMES.join(', ')}`,
    });
  }
  if (baselineOf(known) === TRACEABLE) {
    const rival = findRival(known);
    const guest = { run: findConfig('vanilla'), flavour: 'traceable', image: 'rivals' } as const;
    return { name: known, ...guest, ...(rival === undefined ? {} : { rival }) };
  }
  const run = findConfig(known);
  return { name: known, run, flavour: run.flavour };
}

// SPDX-License-Identifier: MIT
/**
 * The twelve configurations of the paper: which kernel, whether the driver
 * runs, and where its records go.
 */
import { LabError } from '../util/errors.js';

export interface RunConfig {
  /** CONFIG_LEMONA of the guest's kernel. */
  readonly flavour: 'n' | 'm' | 'y';
  /** The driver records in this configuration. */
  readonly records: boolean;
  readonly relay: boolean;
  readonly socket: boolean;
  readonly encrypted: boolean;
}

const off = { records: false, relay: false, socket: false, encrypted: false } as const;
const relay = { records: true, relay: true, socket: false, encrypted: false } as const;
const socket = { records: true, relay: false, socket: true } as const;
const both = { records: true, relay: true, socket: true } as const;

export const RUN_CONFIGS = {
  vanilla: { flavour: 'n', ...off },
  'module-unloaded': { flavour: 'm', ...off },
  'module-relay': { flavour: 'm', ...relay },
  'module-socket-encrypted': { flavour: 'm', ...socket, encrypted: true },
  'module-socket-plain': { flavour: 'm', ...socket, encrypted: false },
  'module-relay-socket-encrypted': { flavour: 'm', ...both, encrypted: true },
  'module-relay-socket-plain': { flavour: 'm', ...both, encrypted: false },
  'static-relay': { flavour: 'y', ...relay },
  'static-socket-encrypted': { flavour: 'y', ...socket, encrypted: true },
  'static-socket-plain': { flavour: 'y', ...socket, encrypted: false },
  'static-relay-socket-encrypted': { flavour: 'y', ...both, encrypted: true },
  'static-relay-socket-plain': { flavour: 'y', ...both, encrypted: false },
} as const satisfies Record<string, RunConfig>;

/** Of a guest of which nothing else is asked. */
export const DEFAULT_SMP = 1;
export const DEFAULT_MEMORY_MIB = 512;

export type ConfigName = keyof typeof RUN_CONFIGS;

export const CONFIG_NAMES = Object.keys(RUN_CONFIGS) as readonly ConfigName[];

/** The configuration of that name; an unknown one is a usage error that names the others. */
export function findConfig(name: string): RunConfig & { readonly name: ConfigName } {
  if (!Object.hasOwn(RUN_CONFIGS, name)) {
    throw new LabError('LAB_CONFIG_UNKNOWN', `there is no configuration '${name}'`, {
      next: `choose one of: ${CONFIG_NAMES.join(', ')}`,
    });
  }
  return { name: name as ConfigName, ...RUN_CONFIGS[name as ConfigName] };
}

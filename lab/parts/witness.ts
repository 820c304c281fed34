// SPDX-License-Identifier: MIT
/** What a witnessed run loads: the plugin, and where its kernel's entry points lie. */
import { readFile } from 'node:fs/promises';
import { ENTRY_POINTS, type EntryPoint, type WitnessParts } from '../run/witness.js';
import type { LabContext } from '../util/context.js';
import { ioError, LabError } from '../util/errors.js';
import { buildPlugin } from './plugins.js';

/** Addresses of the entry points in the text of a System.map. Pure. */
export function entryPointsOf(map: string): Record<EntryPoint, string> {
  const addresses = new Map(
    map.split('\n').map((line) => {
      const [address = '', , name = ''] = line.split(' ');
      return [name, address] as const;
    }),
  );
  return Object.fromEntries(
    Object.entries(ENTRY_POINTS).map(([name, symbol]) => {
      const address = addresses.get(symbol);
      if (address === undefined) throw new LabError('LAB_KERNEL_BUILD', `the kernel's System.map has no ${symbol}`);
      return [name, address];
    }),
  ) as Record<EntryPoint, string>;
}

/** The addresses hold because the kernel's configuration has no RANDOMIZE_BASE. */
export async function witnessParts(kernel: { readonly systemMap: string }, ctx: LabContext): Promise<WitnessParts> {
  let map: string;
  try {
    map = await readFile(kernel.systemMap, 'utf8');
  } catch (error) {
    throw ioError(`reading ${kernel.systemMap}`, error);
  }
  return { plugin: await buildPlugin('witness', ctx), entryPoints: entryPointsOf(map) };
}

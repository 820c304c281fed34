// SPDX-License-Identifier: MIT
import { buildKernel, FLAVOURS } from '../../../guest-kernel/build.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

/** `build kernel`: prints the path of the kernel. */
export async function run(invocation: Invocation): Promise<number> {
  const asked = invocation.args[0] ?? 'y';
  const flavour = FLAVOURS.find((name) => name === asked);
  if (flavour === undefined) throw new LabError('LAB_USAGE', `no kernel flavour is called '${asked}'`);
  const built = await buildKernel(flavour, invocation.context());
  if (invocation.json) await invocation.out.json(built);
  else await invocation.out.line(built.bzImage);
  return 0;
}

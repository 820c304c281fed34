// SPDX-License-Identifier: MIT
import { buildImage, parseImageKind } from '../../../images/build.js';
import type { Invocation } from '../invocation.js';

/** `build image`: prints the path of the raw disk. */
export async function run(invocation: Invocation): Promise<number> {
  const kind = parseImageKind(invocation.args[0] ?? 'debian');
  const built = await buildImage(kind, invocation.context());
  if (invocation.json) await invocation.out.json(built);
  else await invocation.out.line(built.raw);
  return 0;
}

// SPDX-License-Identifier: MIT
import { isIPv6 } from 'node:net';
import { buildIntake } from '../../parts/intake.js';
import { serve } from '../../server/serve.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

/** `HOST:PORT`, `[V6]:PORT` or `:PORT`; `what` was given so. Pure. */
export function parseListen(text: string, what = '--listen'): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2] ?? '';
  if (match === null || port > 65535 || (match[1] !== undefined && !isIPv6(host)))
    throw new LabError('LAB_USAGE', `${what} ${text}: HOST:PORT is wanted`, { next: 'such as 0.0.0.0:4270' });
  return { host: host === '' ? '::' : host, port };
}

/** `server`: its log goes to stdout, one JSON object a line, until Ctrl-C. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { signal, dataDir } = ctx;
  const { host, port } = parseListen(invocation.string('listen') ?? '127.0.0.1:4270');
  const write = (line: string) => void invocation.out.write(line);
  const intake = await buildIntake(ctx);
  const [dir, mayMake] = [invocation.operand(0), invocation.bool('make')];
  await serve({ dir, mayMake, dataDir, host, port, intake, signal, write, now: () => new Date() });
  return 0;
}

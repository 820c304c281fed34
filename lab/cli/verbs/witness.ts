// SPDX-License-Identifier: MIT
import { isMachineName } from '../../link/machine-key.js';
import { readKeyFile } from '../../server/point.js';
import { type Acknowledged, witnessHeads } from '../../server/witness.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';
import { parseListen } from './server.js';

/** `witness`: sends heads to another server, and prints what it has acknowledged. */
export async function run(invocation: Invocation): Promise<number> {
  const { signal, dataDir, log } = invocation.context();
  const address = invocation.operand(0);
  const { host, port } = parseListen(address, 'witness');
  const machine = invocation.need('machine');
  if (!isMachineName(machine)) throw new LabError('LAB_USAGE', `'${machine}' can't be a machine's name`);
  const key = await readKeyFile(invocation.need('key-file'));
  let isNew = false;
  const onAcknowledged = async (news: Acknowledged) => {
    isNew = true;
    const { heads, lines, boot } = news;
    if (invocation.json) await invocation.out.json({ type: 'acknowledged', address, machine, ...news });
    else await invocation.out.line(`${address}: ${heads} heads acknowledged, ${lines} in all (boot ${boot})`);
  };
  const isFollowing = invocation.bool('follow');
  await witnessHeads({ host, port, machine, key, dataDir, isFollowing, signal, log, onAcknowledged });
  if (!isNew) log.info(`${address} has all heads already`);
  return 0;
}

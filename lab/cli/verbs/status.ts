// SPDX-License-Identifier: MIT
import { listBoots, listMachines, openPoint, type StoredBoot } from '../../server/point.js';
import { askStatus, type ServerStatus } from '../../server/status.js';
import type { Invocation } from '../invocation.js';
import { plainTable } from '../plain-table.js';

type Sender = ServerStatus['senders'][number];

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
const known = (value: string | number | null) => (value === null ? '?' : String(value));

/** One row a sender. Pure. */
export function senderRow(sender: Sender): string[] {
  return [
    sender.machine,
    sender.boot,
    sender.address,
    sender.mode,
    `${sender.connectedSeconds} s`,
    megabytes(sender.bytes),
    `${megabytes(sender.bytesPerSecond)}/s`,
    known(sender.queued),
    known(sender.issued),
    known(sender.dropped),
    sender.disk,
  ];
}

const HEAD = ['machine', 'boot', 'address', 'mode', 'since', 'bytes', 'rate', 'lag', 'issued', 'lost', 'disk'];

/** What there is to say of boots that are not connected: losses, and two histories. Pure. */
export function storedLines(boots: readonly StoredBoot[], senders: readonly Sender[]): string[] {
  const lines: string[] = [];
  for (const { machine, boot, state, problem, dropped = '0', forked } of boots) {
    const isHere = senders.some((sender) => sender.machine === machine && sender.boot === boot);
    const whose = `${machine}, boot ${boot} (${state === 'complete' ? 'ended' : 'away'})`;
    if (problem !== undefined) lines.push(`${machine}, boot ${boot}: ${problem}`);
    if (dropped !== '0' && !isHere) lines.push(`${whose}: ${dropped} records LOST`);
    if (forked !== undefined) lines.push(`${whose}: FORKED: ${forked}`);
  }
  return lines;
}

/** `status`: 1 if no server runs, or a boot lost records or has two histories, or a sender finds the disk full. */
export async function run(invocation: Invocation): Promise<number> {
  const { out } = invocation;
  const point = await openPoint(invocation.operand(0));
  const [status, machines] = await Promise.all([askStatus(point), listMachines(point)]);
  const boots = (await Promise.all(machines.map((machine) => listBoots(point, machine)))).flat();
  const stored = storedLines(boots, status?.senders ?? []);
  const isFine = status?.senders.every(({ dropped, disk }) => (dropped ?? '0') === '0' && disk === 'ok') ?? false;
  const isWell = isFine && stored.length === 0;
  if (invocation.json) {
    await out.json({ running: status !== undefined, machines, boots, ...status });
    return isWell ? 0 : 1;
  }
  if (status === undefined) {
    await out.line(`no server runs in ${point.dir}; enrolled: ${machines.join(', ') || 'no machine'}`);
    for (const line of stored) await out.line(line);
    return 1;
  }
  const refused = Object.entries(status.refusals).map(([name, count]) => `${count} ${name}`);
  await out.line(
    `server ${status.server} on port ${status.port}, up ${status.upSeconds} s, ${megabytes(status.rssBytes)} of memory`,
  );
  await out.line(
    `${machines.length} machines enrolled, ${status.senders.length} connected, ${status.openings} opening`,
  );
  await out.line(`refused: ${refused.join(', ') || 'none'}`);
  if (status.senders.length > 0) await out.line(`\n${plainTable(HEAD, status.senders.map(senderRow))}`);
  for (const line of stored) await out.line(line);
  return isWell ? 0 : 1;
}

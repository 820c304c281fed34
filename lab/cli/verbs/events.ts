// SPDX-License-Identifier: MIT
import { OP_NAMES } from '../../abi/layout.js';
import { openRun, runDirOf } from '../../run/folder.js';
import { type EventFilters, eventsOf, eventToJson } from '../../trace/events.js';
import type { RecordKind } from '../../trace/record.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

/** A record that leaves one out does not compile. */
const EVERY_KIND = {
  ...{ entry: 0, exit: 0, switch: 0, task: 0, exec: 0, task_exit: 0, cred: 0, fault: 0 },
  ...{ effect: 0, loss: 0, lost: 0, uring: 0, info: 0, unknown: 0, malformed: 0 },
} as const satisfies Record<RecordKind, 0>;

const RECORD_KINDS = Object.keys(EVERY_KIND) as RecordKind[];

function seqFlag(invocation: Invocation, name: string): bigint | undefined {
  const text = invocation.string(name);
  if (text === undefined) return undefined;
  if (!/^\d{1,20}$/.test(text)) throw new LabError('LAB_USAGE', `--${name} '${text}': wanted a sequence number`);
  return BigInt(text);
}

/** The values of a repeatable flag, each one of a known list, whatever its case. */
function choices<T extends string>(
  invocation: Invocation,
  flag: string,
  known: readonly T[],
): ReadonlySet<T> | undefined {
  const wanted = invocation.list(flag);
  if (wanted.length === 0) return undefined;
  return new Set(
    wanted.map((text) => {
      const found = known.find((name) => name.toLowerCase() === text.toLowerCase());
      if (found === undefined) {
        throw new LabError('LAB_USAGE', `--${flag} '${text}' is not known`, { next: `choose of: ${known.join(', ')}` });
      }
      return found;
    }),
  );
}

/** `events`: one line or one JSON object for each record. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const runDir = runDirOf(ctx.runsDir, invocation.run);
  await openRun(runDir);
  const kinds = choices(invocation, 'kind', RECORD_KINDS);
  const ops = choices(
    invocation,
    'op',
    Object.values(OP_NAMES).filter((name) => name !== undefined),
  );
  const syscalls = invocation.list('syscall');
  const pid = invocation.int('pid');
  const path = invocation.string('path');
  const fromSeq = seqFlag(invocation, 'from');
  const toSeq = seqFlag(invocation, 'to');
  const limit = invocation.int('limit');
  const filters: EventFilters = {
    ...(kinds === undefined ? {} : { kinds }),
    ...(ops === undefined ? {} : { ops }),
    ...(syscalls.length === 0 ? {} : { syscalls: new Set(syscalls) }),
    ...(pid === undefined ? {} : { pid }),
    ...(path === undefined ? {} : { path }),
    ...(fromSeq === undefined ? {} : { fromSeq }),
    ...(toSeq === undefined ? {} : { toSeq }),
    ...(limit === undefined ? {} : { limit }),
  };
  const { out } = invocation;
  for await (const event of eventsOf(runDir, filters, ctx.signal)) {
    if (out.gone) break;
    if (invocation.json) await out.json(eventToJson(event));
    else await out.line(event.line);
  }
  return 0;
}

// SPDX-License-Identifier: MIT
import { KNOWN_OPS } from '../../abi/layout.js';
import { SYSCALL_NAMES } from '../../abi/syscalls.js';
import { rootOfRun } from '../../parts/base-names.js';
import { damageOf } from '../../run/arrived.js';
import { findRunDir, openRun } from '../../run/folder.js';
import { type EventFilters, eventsOf, eventToJson } from '../../trace/events.js';
import { RECORD_KINDS } from '../../trace/record.js';
import type { RunIndex } from '../../trace/run-index.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

/** As many say what there is to say; they come after thousands of lines of data. */
const DAMAGE_LINES = 10;
/** Names that fit into a message; there are hundreds of system calls. */
const OFFERED = 30;

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
      if (found !== undefined) return found;
      const near = known.filter((name) => name.includes(text.toLowerCase()));
      const offered = known.length <= OFFERED ? known : near.slice(0, OFFERED);
      throw new LabError('LAB_USAGE', `--${flag} '${text}' is not known`, {
        next: offered.length === 0 ? 'docs/coverage.md lists them all' : `choose of: ${offered.join(', ')}`,
      });
    }),
  );
}

/** `events`: one line or one JSON object for each record; 1 if the record is damaged. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const kinds = choices(invocation, 'kind', RECORD_KINDS);
  const ops = choices(invocation, 'op', KNOWN_OPS);
  const syscalls = choices(invocation, 'syscall', SYSCALL_NAMES);
  const pid = invocation.int('pid');
  const path = invocation.string('path');
  const fromSeq = seqFlag(invocation, 'from');
  const toSeq = seqFlag(invocation, 'to');
  if (fromSeq !== undefined && toSeq !== undefined && fromSeq > toSeq)
    throw new LabError('LAB_USAGE', `--from ${fromSeq} is after --to ${toSeq}`);
  const limit = invocation.int('limit');
  const filters: EventFilters = {
    ...(kinds === undefined ? {} : { kinds }),
    ...(ops === undefined ? {} : { ops }),
    ...(syscalls === undefined ? {} : { syscalls }),
    ...(pid === undefined ? {} : { pid }),
    ...(path === undefined ? {} : { path }),
    ...(fromSeq === undefined ? {} : { fromSeq }),
    ...(toSeq === undefined ? {} : { toSeq }),
    ...(limit === undefined ? {} : { limit }),
  };
  const runDir = findRunDir(ctx.runsDir, invocation.run);
  const opened = await openRun(runDir);
  const { out } = invocation;
  let damage: readonly string[] = [];
  const onIndex = ({ totals: { subbufs, bytes }, problems }: Pick<RunIndex, 'totals' | 'problems'>) => {
    damage = damageOf(opened.manifest.trace, { subbufs, bytes, problems });
  };
  const root = await rootOfRun(opened, ctx);
  for await (const event of eventsOf(runDir, filters, { signal: ctx.signal, onIndex, root })) {
    if (out.gone) break;
    if (invocation.json) await out.json(eventToJson(event));
    else await out.line(event.line);
  }
  for (const line of damage.slice(0, DAMAGE_LINES)) ctx.log.warn(line);
  if (damage.length > DAMAGE_LINES) ctx.log.warn(`${damage.length - DAMAGE_LINES} more: ./lemona stats lists them`);
  return damage.length === 0 ? 0 : 1;
}

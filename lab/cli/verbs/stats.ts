// SPDX-License-Identifier: MIT
import { goneSince, SUDDEN_END } from '../../run/arrived.js';
import { findRunDir, openRun } from '../../run/folder.js';
import { lastMarkSeq } from '../../run/marks.js';
import { witnessLines, witnessVerdict } from '../../run/witness.js';
import type { Account } from '../../trace/account.js';
import { type RunStats, statsOf } from '../../trace/stats.js';
import type { Invocation } from '../invocation.js';
import { plainTable } from '../plain-table.js';

function table(head: readonly string[], rows: readonly (readonly (string | number | bigint)[])[]): string {
  return plainTable(head, rows, 'right');
}

/** `issued = recorded + declared lost`, with what is missing or too much if it does not come out. Pure. */
export function equation(
  account: Pick<Account, 'issued' | 'recorded' | 'dropped' | 'elsewhere' | 'missing' | 'surplus'>,
): string {
  const { issued, recorded, dropped, elsewhere, missing, surplus } = account;
  const others = elsewhere === 0n ? '' : ` + ${elsewhere} in the part of another category`;
  const holds = `${issued} issued = ${recorded} recorded + ${dropped} declared lost${others}`;
  const lacking = missing === 0n ? '' : ` + ${missing} MISSING without a declaration`;
  return holds + lacking + (surplus === 0n ? '' : ` - ${surplus} that are there TWICE or were not counted`);
}

/** All that is missing was declared, and no stored byte is damaged. Pure. */
export function isSound(stats: Pick<RunStats, 'account' | 'problems'>): boolean {
  return stats.account.isHonest && stats.problems.every((problem) => SUDDEN_END.has(problem.kind));
}

/** `stats`: 1 if anything is missing that was not declared, or damaged. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { out } = invocation;
  const runDir = findRunDir(ctx.runsDir, invocation.run);
  const opened = await openRun(runDir);
  const stats = await statsOf(runDir, ctx.signal, lastMarkSeq(opened.manifest.marks));
  const { account } = stats;
  const gone = goneSince(opened.manifest.trace, stats);
  const { witness: counts } = opened.manifest;
  const witness = counts === undefined ? null : await witnessVerdict(runDir, counts, ctx.signal);
  const status = isSound(stats) && gone === undefined && (witness === null || witness.faults.length === 0) ? 0 : 1;
  if (invocation.json) {
    await out.json({ run: opened.name, state: opened.manifest.state, ...stats, gone: gone ?? null, witness });
    return status;
  }
  await out.line(`run ${opened.name} (${opened.manifest.state}): ${stats.subbufs} sub-buffers, ${stats.bytes} bytes`);
  await out.line('');
  await out.line(
    table(
      ['kind', 'records', 'bytes'],
      stats.kinds.map((row) => [row.name, row.count, row.bytes]),
    ),
  );
  await out.line('');
  await out.line(
    table(
      ['effect', 'records', 'bytes'],
      stats.ops.map((row) => [row.name, row.count, row.bytes]),
    ),
  );
  await out.line('');
  await out.line(
    table(
      ['system call', 'entries', 'exits', 'denied'],
      stats.syscalls.map((row) => [
        row.abi === '64' ? row.name : `${row.name} (${row.abi})`,
        row.entries,
        row.exits,
        row.denied,
      ]),
    ),
  );
  await out.line('');
  for (const stream of account.streams) await out.line(`cpu ${stream.cpu}: ${equation(stream)}`);
  await out.line(`effects: ${account.effects}, numbers ${account.seqFirst} to ${account.seqLast}`);
  const undeclared =
    account.isHonest && account.effectsElsewhere > 0n ? 'in the part of another category' : 'NOT declared';
  for (const gap of account.gaps) {
    await out.line(`gap: ${gap.first} to ${gap.last}: ${gap.isDeclared ? 'declared lost' : undeclared}`);
  }
  for (const seq of account.duplicates) await out.line(`number ${seq} is there twice`);
  for (const { segment, offset, kind, detail } of stats.problems) {
    await out.line(`segment ${segment} at ${offset}: ${kind}: ${detail}`);
  }
  if (gone !== undefined) await out.line(gone);
  await out.line(equation(account));
  for (const line of witness === null ? [] : witnessLines(witness)) await out.line(line);
  return status;
}

// SPDX-License-Identifier: MIT
/**
 * Whole runs of a hostile guest, through everything that reads a run's folder: index, account, merge, plan, instants,
 * events, statistics, the demo's analysis. Oracles, besides "does not throw anything but an error by name":
 *
 *   merge   effects and gaps ascend and tile the numbers without a hole or an overlap, whatever the numbers are;
 *           every effect is byte for byte a record that is in a segment
 *   plan    the same over (after, to], however large `to` is, with few items
 *   index   what is left out is named
 */
import path from 'node:path';
import { AT, KIND, SIZE } from '../../lab/abi/layout.js';
import { analyse } from '../../lab/demo/analyse.js';
import { accountRun } from '../../lab/trace/account.js';
import { eventsOf } from '../../lab/trace/events.js';
import { mergeEffects } from '../../lab/trace/merge.js';
import { indexRun, type RunIndex, segmentsFolder } from '../../lab/trace/run-index.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { statsOf } from '../../lab/trace/stats.js';
import type { SubbufHeader } from '../../lab/trace/subbuf.js';
import { walkRecords } from '../../lab/trace/walk.js';
import { LabError } from '../../lab/util/errors.js';
import { resolveInstant } from '../../replay/instants.js';
import { findRootDev, planEffects } from '../../replay/plan.js';
import { ask, loadFolder } from '../harness/store.js';
import { type Draft, FRAME_MAX, mutateStructure } from './mutate.js';
import type { Random } from './random.js';
import { ROOT_DEV, ROOT_UUID } from './seeds.js';

const MAX_SEQ = 2n ** 64n - 1n;
const INSTANTS = [
  'start',
  'end',
  'seq:1',
  'seq:9223372036854775808',
  '+0s',
  '+999999999999s',
  '1970-01-01',
  '9999-12-31T23:59:59Z',
];
const INSTANT_TEXTS = INSTANTS.map((text) => (/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text));

/** The frames of one hostile run: mostly whole, some changed and sealed again, some twice, some out of order. */
export function hostileRun(random: Random, seeds: readonly Buffer[]): Buffer[] {
  const draft: Draft = { buf: Buffer.alloc(FRAME_MAX), length: 0 };
  const changed = 1 + random.below(6);
  const frames = seeds.map((frame) => {
    if (!random.oneIn(changed)) return frame;
    frame.copy(draft.buf);
    draft.length = frame.length;
    mutateStructure(random, draft, seeds);
    return Buffer.from(draft.buf.subarray(0, draft.length));
  });
  for (let times = random.below(4); times > 0; times--) {
    const from = random.below(frames.length);
    const [frame] = random.oneIn(2) ? frames.splice(from, 1) : [frames[from]];
    if (frame !== undefined && !random.oneIn(3)) frames.splice(random.below(frames.length + 1), 0, frame);
  }
  return frames;
}

function demand(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** The index of a run, and every effect's bytes in its good frames, as text. */
async function readRun(runDir: string): Promise<{ index: RunIndex; stored: Set<string>; records: number }> {
  const stored = new Set<string>();
  let records = 0;
  const visit = (bytes: Buffer, header: SubbufHeader) => {
    records += header.records;
    walkRecords(bytes, header, (buf, off, size, kind) => {
      if (kind === KIND.EFFECT) stored.add(buf.toString('latin1', off, off + size));
    });
  };
  const index = await indexRun(runDir, { visit });
  return { index, stored, records };
}

async function checkMerge(runDir: string, index: RunIndex, stored: ReadonlySet<string>): Promise<void> {
  let next = 1n;
  for await (const item of mergeEffects(runDir, index)) {
    if (item.type === 'duplicate') continue;
    const [first, last] = item.type === 'gap' ? [item.first, item.last] : [item.seq, item.seq];
    demand(first === next && last >= first, `merge: ${item.type} ${first} to ${last}, wanted from ${next}`);
    next = last + 1n;
    if (item.type !== 'effect') continue;
    demand(item.buf.readBigUInt64LE(AT.lemona_effect.seq) === item.seq, `merge: effect ${item.seq} has another number`);
    demand(stored.has(item.buf.toString('latin1')), `merge: effect ${item.seq} is in no segment`);
  }
}

async function checkPlan(random: Random, runDir: string, index: RunIndex, stored: ReadonlySet<string>): Promise<void> {
  const after = random.pick([0n, 0n, 1n, 5n, 2n ** 63n, MAX_SEQ - 1n]);
  const to = random.pick([0n, 7n, 40n, 2n ** 63n, MAX_SEQ]);
  let reached = after;
  let items = 0;
  for await (const item of planEffects(runDir, index, { after, to, dev: ROOT_DEV })) {
    items++;
    const [first, last] = item.type === 'gap' ? [item.first, item.last] : [item.seq, item.seq];
    demand(first > reached && last >= first && last <= to, `plan: ${item.type} ${first} to ${last} after ${reached}`);
    reached = last;
    if (item.type === 'effect')
      demand(stored.has(item.buf.toString('latin1')), `plan: effect ${item.seq} is in no segment`);
  }
  // Every effect and every loss can end a gap and begin another; nothing else can.
  const most = 4 * (stored.size + index.declared.count) + 4;
  demand(items <= most, `plan: ${items} items of ${stored.size} effects`);
}

async function checkInstants(runDir: string, index: RunIndex): Promise<void> {
  const marks = [{ label: 'before', seq: MAX_SEQ }];
  for (const text of INSTANT_TEXTS) {
    try {
      const seq = await resolveInstant(text, runDir, index, { runName: 'hostile', checkpointSeq: 0n, marks });
      demand(seq >= 0n && seq <= MAX_SEQ, `instant ${text} is ${seq}`);
    } catch (error) {
      if (!(error instanceof LabError) || error.code !== 'LAB_INSTANT_UNKNOWN') throw error;
    }
  }
  try {
    await findRootDev(runDir, index, ROOT_UUID);
  } catch (error) {
    if (!(error instanceof LabError) || error.code !== 'LAB_RUN_CORRUPT') throw error;
  }
}

/** What was read of a run; for tests that want to see that something was. */
export interface RunCounts {
  subbufs: number;
  problems: number;
  events: number;
}

/** Reads a run in every way there is. @throws at the first broken oracle */
export async function checkRun(random: Random, runDir: string, signal: AbortSignal): Promise<RunCounts> {
  const { index, stored, records } = await readRun(runDir);
  await checkMerge(runDir, index, stored);
  await checkPlan(random, runDir, index, stored);
  await checkInstants(runDir, index);
  const account = await accountRun(runDir, index);
  demand(
    account.effects + BigInt(account.duplicates.length) <= index.totals.effects,
    'account: more effects than stored',
  );
  await statsOf(runDir);
  let events = 0;
  for await (const event of eventsOf(runDir)) {
    events++;
    demand(event.line.length > 0, 'an event without a line');
  }
  demand(events === records, `events: ${events} of ${records} records`);
  await analyse(runDir, index, undefined, signal);
  await index.close();
  return { subbufs: index.totals.subbufs, problems: index.problems.length, events };
}

/** Loads a run into a database. Each good effect is a row, or named as one that was there twice. @throws as `checkRun` */
export async function checkStore(runDir: string): Promise<{ readonly effects: number; readonly doubled: number }> {
  const db = path.join(runDir, 'index.db');
  await loadFolder(runDir, db);
  demand((await loadFolder(runDir, db)).segments === 0, 'store: a segment was loaded again');
  // A sub-buffer that is against the rules, of another boot, or of no time there is, is refused as a whole.
  const refused = new Set(await ask(db, "SELECT segment, at_byte FROM problems WHERE kind = 'malformed'"));
  let stored = 0;
  for await (const item of readSegments(segmentsFolder(runDir))) {
    if (item.type !== 'subbuf' || refused.has(`${item.segment} ${item.offset}`)) continue;
    walkRecords(item.bytes, item.header, (_buf, _off, size, kind) => {
      if (kind === KIND.EFFECT && size >= SIZE.lemona_effect) stored++;
    });
  }
  const [line = ''] = await ask(
    db,
    "SELECT (SELECT count(*) FROM effects), (SELECT count(*) FROM problems WHERE kind = 'doubled')",
  );
  const [effects = 0, doubled = 0] = line.split(' ').map(Number);
  demand(effects + doubled === stored, `store: ${effects} effects and ${doubled} doubled of ${stored}`);
  return { effects, doubled };
}

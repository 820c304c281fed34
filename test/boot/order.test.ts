// SPDX-License-Identifier: MIT
/**
 * The order of effects under races. The guest keeps each trial's result; a rebuilt disk that has the same results, at
 * marks that fall anywhere, has every order right.
 */
import { expect } from 'chai';
import type { Effect } from '../../lab/abi/effects.js';
import { eventsOf } from '../../lab/trace/events.js';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';

/** Of each mode; the acceptance has 10,000. */
const TRIALS = Number(process.env.LEMONA_TRIALS ?? 400);
/** As small as the driver takes them: a sub-buffer is sent, and the next one begun, after a few effects. */
const TINY_BUFFERS = ['lemona.pool_mb=1', 'lemona.subbuf_kb=96'];
const MINUTE_MS = 60_000;

const MODES = [
  { mode: 'append', what: 'appends to one file' },
  { mode: 'overlap', what: 'writes that overlap' },
  { mode: 'rename', what: 'renames over each other, and exchanges' },
  { mode: 'links', what: 'links and unlinks of one name' },
  { mode: 'truncate', what: 'truncation against writes against mapped stores' },
] as const;

const script = (mode: string, seed: number) => `
chmod +x /root/order; mkdir /root/w; cd /root/w
( n=0; while [ ! -e /run/stop ]; do sleep 0.$((n % 7 + 1)); lemona-mark m$n >&2 || exit 99; n=$((n + 1)); done ) 2>/dev/null &
marks=$!
/root/order ${mode} ${TRIALS} ${seed}
status=$?
touch /run/stop
wait $marks && exit $status
`;

/** `append 400 101 99 98 102 0`: how often each of the workers was the last one, and, at the end, nobody. */
function winnersOf(output: string): number[] {
  const words = output.trim().split(' ').map(Number);
  return words.slice(2);
}

describe('the order of effects on four CPUs with tiny buffers', function () {
  const bench = useBench();
  this.timeout(20 * MINUTE_MS + TRIALS * 200);

  for (const { mode, what } of MODES) {
    it(`is the one that happened: ${TRIALS} trials of ${what}`, async () => {
      const seed = testSeed();
      const program = await guestProgram('order', bench().folder);
      const { manifest, output } = await bench().record('r', script(mode, seed), {
        smp: 4,
        keepsMemory: true,
        copyIn: [{ source: program, destination: '/root/order' }],
        kernelArgs: TINY_BUFFERS,
      });
      expect(manifest.exitStatus, output).to.equal(0);
      const winners = winnersOf(output);
      expect(
        winners.reduce((sum, won) => sum + won, 0),
        output,
      ).to.equal(TRIALS);
      expect(
        winners.slice(0, -1).filter((won) => won > 0),
        `no race: ${output}`,
      ).to.have.length.of.at.least(2);
      const account = await accountOf(bench().runDir('r'));
      expect(account.isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(describeVerdict(result)).to.equal('');
      expect(result.isEqual).to.equal(true);
      expect(result.replay.taintCount).to.equal(0n);
      expect(result.marks.length).to.be.at.least(2);
      process.stderr.write(
        `      ${output.trim()} (last: workers 0 to 3, nobody); ${account.effects} effects, ` +
          `${result.marks.length} marks, ${result.differences} differences\n`,
      );
    });
  }
});

const PAGE = 4096;

const STORERS = [
  { mode: 'threads', what: 'what a process stored, and its other threads are just capturing', pages: 512, rounds: 12 },
  { mode: 'tracer', what: 'what a process stored to the mapping of another one', pages: 16, rounds: 100 },
  { mode: 'stopped', what: 'what a process stored that has stopped since, for who traces it', pages: 4, rounds: 100 },
  { mode: 'call', what: 'what a call stored, by another process that saw it return', pages: 1, rounds: 30 },
  {
    mode: 'seen',
    what: 'what another process stored to a page, for who saw it and stores there too',
    pages: 1,
    rounds: 30,
  },
  {
    mode: 'undone',
    what: 'what another process stored to a page and undid, by who stored there before',
    pages: 1,
    rounds: 30,
  },
  { mode: 'aio', what: 'what a request of the same call stored', pages: 1, rounds: 30 },
  { mode: 'gone', what: 'what the kernel stored as a task went, by its parent', pages: 1, rounds: 30 },
] as const;

type Content = Extract<Effect, { op: 'PAGE' | 'WRITE' }> & { readonly tid: number; readonly monoNs: bigint };

/** The effects that have content, by their numbers, and the times of faults. */
async function contentsOf(runDir: string): Promise<{ readonly contents: Content[]; readonly faults: bigint[] }> {
  const contents: Content[] = [];
  const faults: bigint[] = [];
  for await (const { record } of eventsOf(runDir, { kinds: new Set(['effect', 'fault']) })) {
    const { tid, monoNs } = record;
    if (record.kind === 'fault') faults.push(monoNs);
    if (record.kind !== 'effect') continue;
    const { effect } = record;
    if (effect.op === 'PAGE' || effect.op === 'WRITE') contents.push({ ...effect, tid, monoNs });
  }
  return { contents: contents.sort((one, other) => Number(one.seq - other.seq)), faults };
}

describe('stores through a mapping', function () {
  const bench = useBench();
  this.timeout(20 * MINUTE_MS);

  for (const { mode, what, pages, rounds } of STORERS) {
    it(`come before a later write: ${what}`, async () => {
      const program = await guestProgram('mapped-order', bench().folder);
      const { manifest, output } = await bench().record(
        'r',
        `chmod +x /root/mapped-order; echo -1 > /proc/sys/kernel/sched_rt_runtime_us
cd /root; ./mapped-order ${mode} ${pages} ${rounds}; e=$?
stat -c '%n %i' mapped written; exit $e`,
        {
          smp: 4,
          copyIn: [{ source: program, destination: '/root/mapped-order' }],
          // only there the driver's own thread is one of those who capture
          kernelArgs: mode === 'threads' ? [] : ['lemona.flush_ms=1000000'],
        },
      );
      expect(manifest.exitStatus, output).to.equal(0);
      const inodes = new Map(output.split('\n').map((line) => line.trim().split(' ') as [string, string]));
      const stored = Buffer.alloc(pages * 8);
      const wrong: string[] = [];
      const { contents, faults } = await contentsOf(bench().runDir('r'));
      const captured = new Map<number, bigint>();
      let [writes, preempted] = [0, 0];
      for (const effect of contents) {
        const ino = String(effect.ino);
        if (effect.op === 'PAGE' && ino === inodes.get('mapped')) {
          captured.set(effect.tid, effect.monoNs);
          // the part of its page's first word that it has
          const at = Number(effect.pos % BigInt(PAGE));
          if (at < 8) effect.data.copy(stored, Math.floor(Number(effect.pos) / PAGE) * 8 + at, 0, 8 - at);
        } else if (effect.op === 'WRITE' && ino === inodes.get('written')) {
          writes++;
          const own = captured.get(effect.tid) ?? 0n;
          // whoever was preempted before the other one stored has nothing to capture at his call
          if (mode === 'undone' && faults.some((ns) => ns > own && ns < effect.monoNs)) {
            preempted++;
            continue;
          }
          const number = effect.data.readBigUInt64LE();
          for (let i = 0; i < pages; i++) {
            const is = stored.readBigUInt64LE(i * 8);
            if (is !== number) wrong.push(`seq ${effect.seq} writes ${number}: page ${i} has ${is}`);
          }
        }
      }
      expect(writes).to.equal(rounds);
      expect(preempted).to.be.at.most(rounds / 2);
      expect(wrong.length, wrong.slice(0, 3).join('\n')).to.equal(0);
    });
  }
});

// SPDX-License-Identifier: MIT
/**
 * The driver does not read the clock for each record where the processor's own counter tells how much later it is. The
 * kernel is asked for the time while its records are written: what it says lies between those of the call.
 */
import { expect } from 'chai';
import { eventsOf } from '../../lab/trace/events.js';
import { useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';

const ROUNDS = 6_000;
const CLOCK_GETTIME = 228;
const CLOCK_MONOTONIC = 1n;
/** What module/buffer.c allows a record's time to be late: LATE_NS, CLOCK_US / 1024, and what is rounded. */
const LATE_NS = 510n;

const CLOCK = '/sys/devices/system/clocksource/clocksource0/current_clocksource';
/**
 * A second or two after its start the kernel knows how fast the counter is, and changes the rate of its clock. Clocks of two
 * CPUs may then differ by microseconds, the kernel's own too, if the host stops one of them in the middle of it.
 */
const SETTLED = `n=0; while grep -q early ${CLOCK} && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done;`;

describe('the times of records', () => {
  const bench = useBench();

  for (const { smp, why } of [
    { smp: 1, why: 'one CPU' },
    { smp: 2, why: 'two CPUs' },
  ]) {
    it(`are those of the kernel's clock, and do not go back: ${why}`, async () => {
      const program = await guestProgram('clock', bench().folder);
      const script = `${SETTLED} chmod +x /root/clock && cat ${CLOCK} && /root/clock ${ROUNDS}`;
      const { manifest, output } = await bench().record('r', script, {
        smp,
        copyIn: [{ source: program, destination: '/root/clock' }],
      });
      expect(manifest.exitStatus, output).to.equal(0);
      const entered = new Map<number, bigint>();
      const last = new Map<number, bigint>();
      let seen = 0;
      for await (const { record } of eventsOf(bench().runDir('r'), {})) {
        expect(record.monoNs >= (last.get(record.cpu) ?? 0n), `${record.kind} of CPU ${record.cpu}`).to.equal(true);
        last.set(record.cpu, record.monoNs);
        if (record.kind === 'entry' && record.nr === CLOCK_GETTIME && record.args[0] === CLOCK_MONOTONIC)
          entered.set(record.tid, record.monoNs);
        const begun = entered.get(record.tid);
        if (record.kind !== 'exit' || record.nr !== CLOCK_GETTIME || begun === undefined) continue;
        entered.delete(record.tid);
        const time = record.captures[0]?.bytes;
        if (time?.length !== 16) throw new Error('the time was not captured');
        const said = time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
        expect(begun <= said && said <= record.monoNs + LATE_NS, `${begun} ${said} ${record.monoNs}`).to.equal(true);
        seen++;
      }
      expect(seen).to.equal(ROUNDS);
      process.stderr.write(`      ${seen} times, clock source ${output.trim()}\n`);
    });
  }
});

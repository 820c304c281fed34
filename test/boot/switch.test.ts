// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { eventsOf } from '../../lab/trace/events.js';
import { useBench } from '../harness/boot.js';

/** include/linux/sched.h */
const TASK_INTERRUPTIBLE = 1;
const TASK_DEAD = 0x80;

/** Two that never wait for anything share one CPU with one that does little else; each under its own name. */
const SCRIPT = `set -e
for name in dd sleep; do cp /proc/$$/exe /root/$name; done
spin() { /root/dd if=/dev/zero of=/dev/null bs=1 count=200000 2>/dev/null; }
spin & spin & for n in 1 2 3; do /root/sleep 0.1; done; wait
`;

describe('the switches of a CPU', () => {
  const bench = useBench();

  it('say what the task that left was about to do: to go on, to wait, or nothing more', async () => {
    const { manifest, output } = await bench().record('r', SCRIPT, { smp: 1 });
    expect(manifest.exitStatus, output).to.equal(0);
    const names = new Map<number, string>();
    const states = new Map<number, number[]>();
    for await (const { record } of eventsOf(bench().runDir('r'), { kinds: new Set(['exec', 'switch']) })) {
      if (record.kind === 'exec') {
        names.set(record.tid, record.comm.toString());
        states.set(record.tid, []);
      } else if (record.kind === 'switch') {
        states.get(record.tid)?.push(record.prevState);
      }
    }
    const of = (name: string) => [...names].filter(([, is]) => is === name).map(([tid]) => states.get(tid) ?? []);
    expect(of('dd')).to.have.length(2);
    expect(of('sleep')).to.have.length(3);
    for (const left of [...of('dd'), ...of('sleep')]) expect(left.at(-1)).to.equal(TASK_DEAD);
    for (const left of of('dd')) expect(left.filter((state) => state === 0).length, `${left}`).to.be.at.least(5);
    for (const left of of('sleep'))
      expect(left.filter((state) => (state & TASK_INTERRUPTIBLE) !== 0).length, `${left}`).to.be.at.least(1);
  });
});

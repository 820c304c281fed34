// SPDX-License-Identifier: MIT
/**
 * What can happen to a record on its way through the relay. A full disk of the host is not among it: it ends the run
 * (test/boot/disk-full.test.ts). Nor can the forwarder be killed, which is a thread of process 1: that is tried.
 */
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { Machine } from '../../lab/vm/machine.js';
import { Random } from '../fuzz/random.js';
import { qemusOf, testSeed, useBench } from '../harness/boot.js';
import { demandWhole } from '../harness/whole.js';

/** LEMONA_FAULTS asks for fewer. */
const FAULTS = Number(process.env.LEMONA_FAULTS ?? 200);
const FAULTS_A_MARK = 20;
const FAULT_MS = 2000;
/** Of a host that takes little at a time. */
const SLOW_MS = 200;

/** Two work until a line says stop; the others say what is to be done meanwhile. */
const SCRIPT = `
exec 2>&1
mkdir /root/w; cd /root/w
work() {
  i=0
  while [ ! -e /root/stop ]; do
    dd if=/dev/urandom of=$1f$((i % 20)) bs=4k count=4 2>/dev/null
    mv $1f$((i % 20)) $1g$((i % 7)); ln -f $1g$((i % 7)) $1h$((i % 5)); : > $1e$((i % 50)); rm -f $1e$(((i + 25) % 50))
    i=$((i + 1))
  done
  echo "$i rounds"
}
work a & work b &
trace=$(grep -l lemona.trace /sys/class/virtio-ports/*/name)
trace=/dev/$(basename \${trace%/name})
while read what label; do
  case $what in
  kill) for task in /proc/1/task/*; do kill -9 \${task##*/}; kill -STOP \${task##*/}; done;;
  steal) dd if=/dev/lemona of=/dev/null bs=1M count=1; echo forged > $trace;;
  mark) lemona-mark $label;;
  stop) break;;
  esac
  echo "$what: $?"
done
touch /root/stop; wait`;

/** A host that takes what comes, or not. */
class Host {
  #until = Promise.resolve();
  #isSlow = false;

  readonly pace = async () => {
    await this.#until;
    if (this.#isSlow) await sleep(SLOW_MS);
  };

  async hold(ms: number): Promise<void> {
    this.#until = sleep(ms);
    await this.#until;
  }

  async slow(ms: number): Promise<void> {
    this.#isSlow = true;
    await sleep(ms);
    this.#isSlow = false;
  }
}

describe('a record through a relay that fails', () => {
  const bench = useBench();

  it(`${FAULTS} random faults: nothing is lost and nothing doubled`, async function () {
    this.timeout(3_600_000);
    const random = new Random(testSeed());
    const host = new Host();
    const stdin = new PassThrough();
    const done: Record<string, number> = { hold: 0, slow: 0, pause: 0, stop: 0, kill: 0, steal: 0 };
    let marks = 0;
    const harm = async (machine: Machine) => {
      const [qemu] = await qemusOf(bench().folder);
      if (qemu === undefined) throw new Error('there is no QEMU');
      const kinds: Record<string, (ms: number) => Promise<void>> = {
        hold: (ms) => host.hold(ms),
        slow: (ms) => host.slow(ms),
        pause: async (ms) => {
          await machine.qmp.execute('stop');
          await sleep(ms);
          await machine.qmp.execute('cont');
        },
        stop: async (ms) => {
          process.kill(qemu, 'SIGSTOP');
          await sleep(ms);
          process.kill(qemu, 'SIGCONT');
        },
        kill: async () => void stdin.write('kill\n'),
        steal: async () => void stdin.write('steal\n'),
      };
      for (let n = 1; n <= FAULTS; n++) {
        await sleep(100 + random.below(400));
        const [name, fault] = random.pick(Object.entries(kinds));
        await fault(random.below(FAULT_MS));
        done[name] = (done[name] ?? 0) + 1;
        if (n % FAULTS_A_MARK === 0) stdin.write(`mark m${++marks}\n`);
      }
    };
    let harmed: Promise<void> | undefined;
    const { manifest, output } = await bench().record('r', SCRIPT, {
      smp: 2,
      kernelArgs: ['lemona.pool_mb=1', 'lemona.subbuf_kb=96'],
      stdin,
      tracePace: host.pace,
      onMachine: (machine) => {
        harmed = harm(machine).finally(() => stdin.end('stop\n'));
        harmed.catch(() => {});
      },
    });
    await harmed;
    const told = Object.entries(done).map(([name, count]) => `${count} × ${name}`);
    const { bytes, subbufs } = manifest.trace;
    process.stderr.write(`    ${told.join(', ')}; ${subbufs} sub-buffers, ${bytes} bytes\n`);
    const count = (line: RegExp) => output.match(line)?.length ?? 0;
    expect(count(/^kill: 0$/gm), output).to.equal(done.kill);
    // A second reader, and a second writer to the port, are refused.
    expect(count(/^steal: 1$/gm), output).to.equal(done.steal);
    expect(count(/\/dev\/lemona'?: (Resource|Device or resource) busy/g), output).to.equal(done.steal);
    expect(count(/^mark: 0$/gm), output).to.equal(marks);
    expect(manifest.state).to.equal('complete');
    expect(manifest.marks).to.have.length(marks + 1);
    await demandWhole(bench(), 'r');
  });
});

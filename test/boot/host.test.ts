// SPDX-License-Identifier: MIT
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { buildImage } from '../../images/build.js';
import { buildInitramfs } from '../../images/initramfs.js';
import type { TracePace } from '../../lab/link/receiver.js';
import { replayParts } from '../../lab/parts/parts.js';
import { Child } from '../../lab/proc/child.js';
import { openRun } from '../../lab/run/folder.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { bootToHello } from '../../lab/vm/accel.js';
import type { Machine } from '../../lab/vm/machine.js';
import { accountOf, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { GdbClient } from '../harness/gdb.js';
import { bootBareGuest } from '../harness/guest.js';
import { guestProgram } from '../harness/program.js';

/** Of the kernel a machine boots; it is linked to run where System.map says. */
async function symbolOf(machine: Machine, name: string): Promise<bigint> {
  const map = await readFile(path.join(path.dirname(machine.spec.kernel), 'System.map'), 'utf8');
  const address = new RegExp(`^([0-9a-f]+) [Tt] ${name}$`, 'm').exec(map)?.[1];
  if (address === undefined) throw new Error(`${name} is not in System.map`);
  return BigInt(`0x${address}`);
}

/**
 * Puts a breakpoint that nobody takes away where a function begins: what a stale translation of QEMU amounts to.
 * Returns with the guest on its way there; `done` settles when it is in place.
 */
async function leaveBreakpoint(machine: Machine, folder: string, name: string): Promise<{ done: Promise<void> }> {
  const socket = path.join(folder, 'gdb');
  const server = `gdbserver unix:${socket},server=on,wait=off`;
  await machine.qmp.execute('human-monitor-command', { 'command-line': server });
  const gdb = await GdbClient.connect(socket);
  // Earlier, the kernel still patches what it is made of, and its own page tables are not there.
  const { stopped } = await gdb.runTo(await symbolOf(machine, 'kernel_init'));
  const address = await symbolOf(machine, name);
  const done = stopped.then(async () => {
    await gdb.write(address, Buffer.from([0xcc]));
    await gdb.detach();
  });
  done.catch(() => {});
  return { done };
}

async function sha256(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}

describe('the kernel of replay VMs', () => {
  const bench = useBench();

  // It lacks what no agent needs; the boot that finds out about KVM is not one of an agent.
  it('boots to hello, so that an accelerator can be tried on it', async () => {
    const { ctx } = bench();
    const { kernel } = await replayParts(ctx);
    const { raw } = await buildImage('tiny', ctx);
    const initrd = await buildInitramfs({ role: 'record', module: null }, ctx);
    const guest = { digest: kernel.digest, kernel: kernel.bzImage, initrd, rootRaw: raw };
    expect(await bootToHello(guest, 'tcg', ctx)).to.be.greaterThan(0);
  });
});

describe('a boot that QEMU broke', () => {
  const bench = useBench();

  it('is tried again, and its evidence is kept and boots by hand without changing a disk', async () => {
    const { folder } = bench();
    const broken: { done: Promise<void> }[] = [];
    const { manifest, output } = await bench().record('r', 'echo a > /root/a; echo alive', {
      onMachine: async (machine) => {
        if (broken.length === 0) broken.push(await leaveBreakpoint(machine, folder, 'kernel_execve'));
      },
    });
    await broken[0]?.done;
    expect(output).to.equal('alive\n');
    expect(manifest.state).to.equal('complete');
    const kept = path.join(bench().runDir('r'), 'boots/1');
    expect(manifest.problems).to.have.length(1);
    expect(manifest.problems[0]).to.include(`sh ${kept}/reproduce.sh`);
    const failed = await openRun(kept);
    expect(failed.manifest.state).to.equal('torn');
    expect(failed.manifest.problems.join('\n')).to.match(/Oops: int3/);
    expect(await readFile(path.join(kept, 'console.log'), 'latin1')).to.match(/Oops: int3/);
    expect(await readdir(kept)).to.include.members(['run.json', 'qemu.argv', 'qmp.jsonl', 'disk', 'segments']);
    expect(await readFile(path.join(kept, 'qmp.jsonl'), 'latin1')).to.match(/"last-avail-idx": ?\d/);

    const result = await bench().verify('r');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);

    // Not broken by hand: QEMU did it, not the folder.
    const disk = path.join(kept, 'disk/disk.qcow2');
    const before = await sha256(disk);
    const byHand = await Child.spawn({ label: 'reproduce.sh', argv: ['sh', path.join(kept, 'reproduce.sh')] });
    try {
      await pollUntil(
        async () => {
          const said = await readFile(path.join(kept, 'lemona.ctl.out'), 'latin1').catch(() => '');
          return said.includes('root=/dev/vda') ? true : undefined;
        },
        { label: 'the hello of a guest booted by hand', timeoutMs: 120_000, lastSeen: () => byHand.outputTail() },
      );
    } finally {
      await byHand.stop();
    }
    expect(await sha256(disk)).to.equal(before);
  });
});

describe('a guest that has sent everything', () => {
  const bench = useBench();

  it('waits for a host that is slow to take it, and powers off at its word', async () => {
    const { machine, ctl, guard } = await bootBareGuest(bench().folder, { config: 'static-relay' }, bench().ctx);
    try {
      const sent = await guard(ctl.shutDown(), "the guest's goodbye");
      expect(sent > 0n).to.equal(true);
      const early = await Promise.race([machine.exited, sleep(5_000, 'still there')]);
      expect(early).to.equal('still there');
      ctl.powerOff();
      expect(await guard(machine.exited, 'the power')).to.deep.equal({ code: 0, signal: null });
      expect(ctl.problems).to.deep.equal([]);
    } finally {
      await machine.quit();
    }
  });

  it('powers off without that word once its limit has passed, and says so', async () => {
    const options = { config: 'static-relay', kernelArgs: ['lemona.goodbye_s=3'] } as const;
    const { machine, ctl, guard } = await bootBareGuest(bench().folder, options, bench().ctx);
    try {
      await guard(ctl.shutDown(), "the guest's goodbye");
      const sentMs = performance.now();
      await guard(machine.exited, 'the power');
      expect(performance.now() - sentMs).to.be.greaterThan(2_500);
      expect(ctl.problems.join('\n')).to.match(/the host did not say within 3 s .* powering off without it/);
    } finally {
      await machine.quit();
    }
    const said = await readFile(path.join(bench().folder, 'guest/console.log'), 'latin1');
    expect(said).to.match(/the host did not say within 3 s/);
  });
});

const SLOW_BYTES_PER_S = 1024;
/** At most at once; the last one is waited for only as long as the host is to be slow. */
const READ_BYTES = 65_536;
const SLOW_S = 60;

/** A host that, once a megabyte has come, takes 1 KiB a second for a minute, and is itself again after it. */
function slowHost() {
  const seen = { bytes: 0, slowBytes: 0, slowFromMs: 0, slowToMs: 0 };
  const pace: TracePace = async (bytes) => {
    seen.bytes += bytes;
    if (seen.bytes < 1024 * 1024) return;
    if (seen.slowFromMs === 0) seen.slowFromMs = performance.now();
    const leftMs = seen.slowFromMs + SLOW_S * 1000 - performance.now();
    if (leftMs <= 0) return;
    seen.slowBytes += bytes;
    await sleep(Math.min(leftMs, (bytes / SLOW_BYTES_PER_S) * 1000));
    seen.slowToMs = performance.now();
  };
  return { seen, pace };
}

describe('a host that takes the record slowly', () => {
  const bench = useBench();

  it('loses nothing and stops nothing: 1 KiB/s for a minute amid the work of two CPUs, a pool of 2 MiB', async () => {
    const seed = testSeed();
    const program = await guestProgram('exerciser', bench().folder);
    const { seen, pace } = slowHost();
    const script = `
chmod +x /root/exerciser
( n=0; while [ ! -e /run/stop ]; do lemona-mark m$n || exit 99; n=$((n + 1)); sleep 1; done ) &
/root/exerciser /root/play 3 1500 ${seed}
touch /run/stop
wait`;
    const { manifest, output } = await bench().record('r', script, {
      smp: 2,
      kernelArgs: ['lemona.pool_mb=2'],
      copyIn: [{ source: program, destination: '/root/exerciser' }],
      tracePace: pace,
    });
    expect(manifest.exitStatus, `LEMONA_SEED=${seed}: ${output}`).to.equal(0);
    // It was slow, while there was more than the guest can keep: the guest had to wait.
    expect(seen.slowToMs - seen.slowFromMs).to.be.at.least(SLOW_S * 1000 - 100);
    expect(seen.slowBytes).to.be.at.most(SLOW_BYTES_PER_S * SLOW_S + READ_BYTES);
    expect(manifest.trace.bytes).to.be.greaterThan(6 * 1024 * 1024);
    expect(manifest.seconds.command).to.be.greaterThan(SLOW_S);
    const account = await accountOf(bench().runDir('r'));
    expect([account.isComplete, account.dropped]).to.deep.equal([true, 0n]);
    const result = await bench().verify('r');
    expect(describeVerdict(result), `LEMONA_SEED=${seed}`).to.equal('');
    expect([result.isEqual, result.marks.length]).to.deep.equal([true, manifest.marks.length]);
  });
});

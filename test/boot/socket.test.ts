// SPDX-License-Identifier: MIT
import { readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'chai';
import { buildGuestTool } from '../../images/tools.js';
import { auditRun } from '../../lab/audit/audit.js';
import { keyFromPassphrase } from '../../lab/link/machine-key.js';
import { openRun } from '../../lab/run/folder.js';
import {
  listenForGuest,
  MACHINE,
  type SocketReceiver,
  type SocketReceiverOptions,
} from '../../lab/run/socket-receiver.js';
import { eventsOf } from '../../lab/trace/events.js';
import { LabError } from '../../lab/util/errors.js';
import { serverAddress } from '../../lab/vm/qemu-args.js';
import { accountOf, describeVerdict, useBench } from '../harness/boot.js';
import { holdersOf } from '../harness/holders.js';
import { problemsOf } from '../harness/problems.js';
import { guestProgram } from '../harness/program.js';
import { sh } from '../harness/sh.js';

const WORK = 'mkdir /root/w; for i in 1 2 3 4 5 6 7 8; do echo $i > /root/w/$i; mv /root/w/$i /root/w/n$i; done';

/** Puts files that root alone can read into an image: whoever writes them later has them in the record. */
async function storeSecrets(secrets: Readonly<Record<string, string>>, folder: string, raw: string): Promise<void> {
  let input = 'cd /root\n';
  for (const [name, text] of Object.entries(secrets)) {
    const file = path.join(folder, name);
    await writeFile(file, text);
    input += `write ${file} ${name}\nsif ${name} mode 0100600\n`;
  }
  await sh({ input, stdio: 'pipe' })`debugfs -w -f - ${raw}`;
}

/** A server that has the key; the guest is started with another one, which it refuses. */
async function listenForWrongKey(key: Buffer, options: SocketReceiverOptions): Promise<SocketReceiver> {
  const receiver = await listenForGuest({ ...options, key });
  return Object.assign(Object.create(receiver) as SocketReceiver, { key: Buffer.alloc(32, 1) });
}

describe('the socket backend', () => {
  const bench = useBench();

  it('passes its self-test, and sends encrypted what the relay delivers, to the byte', async () => {
    let key: Buffer | undefined;
    const { manifest, output } = await bench().record('r', `${WORK}; dmesg | grep lemona`, {
      config: 'static-relay-socket-encrypted',
      kernelArgs: ['lemona.selftest=1'],
      listenForGuest: async (options) => {
        const receiver = await listenForGuest(options);
        key = receiver.key;
        return receiver;
      },
    });
    expect(output).to.match(/lemona: self-test: (\d+) of \1 passed/);
    expect(output).to.match(/lemona: server 10\.0\.2\.100:7021: connected/);
    expect(manifest.state).to.equal('complete');
    expect(manifest.bothWays?.same).to.be.greaterThan(3);
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
    const chain = await readFile(path.join(bench().runDir('r'), 'chain.jsonl'), 'utf8');
    expect(chain).to.match(/^\{"kind":"segment",.*"file":"segments\/000000\.seg"/m);
    expect(chain).to.match(/^\{"kind":"segment",.*"file":"segments-socket\/000000\.seg"/m);
    expect((await auditRun(bench().runDir('r'))).findings).to.deep.equal([]);
    expect(key?.length).to.equal(32);
    if (key === undefined) return;
    expect(await holdersOf(bench().runDir('r'), [key, key.toString('hex')])).to.deep.equal([]);
  });

  it('ends where the relay ends, however slowly that is read', async () => {
    // Much is still to be read when the work is over, and small sub-buffers follow it every millisecond.
    const { manifest } = await bench().record('r', 'dd if=/dev/zero of=/root/big bs=64k count=200', {
      ...{ config: 'static-relay-socket-plain', smp: 2, kernelArgs: ['lemona.flush_ms=1'] },
      tracePace: async () => void (await setTimeout(10)),
    });
    expect([manifest.state, problemsOf(manifest)]).to.deep.equal(['complete', []]);
  });

  it("encrypts for at most twice the instructions of the kernel's own ChaCha20-Poly1305", async () => {
    const { output } = await bench().record('r', 'dmesg | grep self-test', {
      accelerator: 'tcg',
      kernelArgs: ['lemona.selftest=1'],
      // A cycle of the guest is an instruction.
      qemuArgs: ['-icount', 'shift=0,sleep=off'],
    });
    const [, link, alone] = /encrypting a MiB takes (\d+) cycles, ChaCha20-Poly1305 alone (\d+)/.exec(output) ?? [];
    process.stderr.write(`    a MiB: ${link} instructions, the primitive alone ${alone}\n`);
    expect(Number(alone), output).to.be.greaterThan(0);
    expect(Number(link)).to.be.within(Number(alone), 2 * Number(alone));
  });

  it("goes before the machine's other traffic when there is more than the network takes", async () => {
    const files = await Promise.all(
      ['drain', 'traffic'].map(async (name) => ({
        source: await guestProgram(name, bench().folder),
        destination: `/root/${name}`,
      })),
    );
    /** Milliseconds until a record of 512 KiB was acknowledged; and datagrams that had left meanwhile. */
    const send = async (name: string, priority: number, traffic: string) => {
      const { manifest, output } = await bench().record(
        name,
        `cd /root; chmod +x drain traffic; ${traffic}
         now() { awk '{ print int($1 * 1000) }' /proc/uptime; }
         sent() { awk '/eth0:/ { print $11 }' /proc/net/dev; }
         from=$(now); before=$(sent)
         dd if=/dev/urandom of=f bs=64k count=8 2>/dev/null; ./drain
         echo "took $(($(now) - from)) ms, sent $(($(sent) - before))"`,
        {
          ...{ config: 'static-socket-plain', copyIn: files, kernelArgs: [`lemona.priority=${priority}`] },
          // A network that takes 8 packets each 2 ms.
          qemuArgs: ['tx=timer', 'x-txtimer=2000000', 'x-txburst=8'].flatMap((property) => [
            ...['-global', `virtio-net-pci.${property}`],
          ]),
        },
      );
      expect(manifest.state, output).to.equal('complete');
      const [, took, sent] = /took (\d+) ms, sent (\d+)/.exec(output) ?? [];
      process.stderr.write(`    ${name}: ${took} ms, ${sent} packets\n`);
      return { took: Number(took), sent: Number(sent) };
    };
    const full = '( ./traffic & ) ; sleep 3';
    const alone = await send('alone', 7, '');
    const first = await send('first', 7, full);
    const among = await send('among', 0, full);
    // There was other traffic, all the time.
    expect(first.sent).to.be.above(2 * alone.sent);
    // What the network's device has taken already, up to 256 packets, nobody can overtake.
    expect(among.took).to.be.above(3 * first.took);
  });

  it('is drained on the way, and goes on', async () => {
    const program = await guestProgram('drain', bench().folder);
    const { manifest, output } = await bench().record('r', `chmod +x /root/drain; /root/drain; ${WORK}; /root/drain`, {
      config: 'static-socket-plain',
      copyIn: [{ source: program, destination: '/root/drain' }],
    });
    expect([manifest.state, manifest.exitStatus], output).to.deep.equal(['complete', 0]);
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
    const result = await bench().verify('r');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
  });

  it('is refused with a wrong key, says so on both sides, and takes the right one from a passphrase', async () => {
    const { folder, ctx } = bench();
    const passphrase = 'wrong horse battery staple';
    const tool = await buildGuestTool('key', ctx);
    const key = await keyFromPassphrase(MACHINE, passphrase);
    const told: string[] = [];
    const { manifest, output } = await bench().record(
      'r',
      `until dmesg | grep -q 'has the wrong key'; do sleep 0.1; done
       /root/lemona-key --file /root/passphrase || echo "lemona-key: $?"
       until dmesg | grep -q 7021:.connected; do sleep 0.1; done
       echo 1 | /root/lemona-key --file - 2>&1 || echo "and no other"
       ${WORK}`,
      {
        config: 'static-socket-encrypted',
        copyIn: [{ source: tool, destination: '/root/lemona-key' }],
        tune: (raw) => storeSecrets({ passphrase: `${passphrase}\n` }, folder, raw),
        listenForGuest: (options) => {
          const onEvent: typeof options.onEvent = (event) => {
            told.push(`${event.event} ${String(event.status ?? '')}`);
            options.onEvent(event);
          };
          return listenForWrongKey(key, { ...options, onEvent });
        },
      },
    );
    expect(output).to.match(/accepted the driver's key already\n.*and no other/s);
    expect(told[0]).to.match(/^refused (BAD_KEY|TAMPERED)/);
    expect(told.some((event) => event.startsWith('connected'))).to.equal(true);
    expect(manifest.state).to.equal('complete');
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
    // Neither in the record, nor in any log.
    expect(await holdersOf(bench().runDir('r'), [passphrase, key, key.toString('hex')])).to.deep.equal([]);
  });

  it('is given its key at a terminal, which does not show what is typed', async () => {
    const { folder, ctx } = bench();
    const passphrase = 'correct horse battery staple';
    const key = await keyFromPassphrase(MACHINE, passphrase);
    const { manifest, output } = await bench().record(
      'r',
      `/root/terminal /root/passphrase /root/lemona-key
       until dmesg | grep -q 7021:.connected; do sleep 0.1; done
       ${WORK}`,
      {
        config: 'static-socket-encrypted',
        copyIn: [
          { source: await buildGuestTool('key', ctx), destination: '/root/lemona-key' },
          { source: await guestProgram('terminal', folder), destination: '/root/terminal' },
        ],
        tune: (raw) => storeSecrets({ passphrase: `${passphrase}\n` }, folder, raw),
        listenForGuest: (options) => listenForWrongKey(key, options),
      },
    );
    expect(output).to.match(/echo off\nseen: Passphrase of the machine guest: \r?\n\nstatus 0/);
    expect(manifest.state).to.equal('complete');
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
  });

  it('shows neither passphrase nor key to whoever looks into the guest, and dumps no core of it', async () => {
    const { folder, ctx } = bench();
    const passphrase = 'lost horse battery staple';
    const key = await keyFromPassphrase(MACHINE, passphrase);
    // What is no secret is found where it is, and a program that does not hide shows what it has.
    const words = 'a canary in a coal mine';
    const { manifest, output } = await bench().record(
      'r',
      `until dmesg | grep -q 'has the wrong key'; do sleep 0.1; done
       mkdir /cores; mount -t tmpfs none /cores; echo /cores/core > /proc/sys/kernel/core_pattern
       cd /root; chmod +x secret; ulimit -c unlimited
       ./secret secrets ./lemona-key --file -
       ./lemona-key --file passphrase
       until dmesg | grep -q 7021:.connected; do sleep 0.1; done
       ./secret secrets
       echo and now what is shown
       WORDS='${words}' ./secret words grep '${words}'`,
      {
        config: 'static-socket-encrypted',
        copyIn: [
          { source: await buildGuestTool('key', ctx), destination: '/root/lemona-key' },
          { source: await guestProgram('secret', folder), destination: '/root/secret' },
        ],
        tune: (raw) =>
          storeSecrets(
            {
              passphrase: `${passphrase}\n`,
              secrets: `${passphrase}\n${key.toString('hex')}\n`,
              words: `${words}\n${serverAddress(0)}\n`,
            },
            folder,
            raw,
          ),
        listenForGuest: (options) => listenForWrongKey(key, options),
      },
    );
    expect([manifest.state, manifest.exitStatus], output).to.deep.equal(['complete', 0]);
    const [hidden = '', shown = ''] = output.split('and now what is shown\n');
    const looked = /^(held|then): looked at \d{2,} places$/gm;
    expect(hidden.match(looked), hidden).to.have.length(4);
    expect(hidden).to.not.match(/ is in /);
    const denied = [
      ...['memory: Permission denied', 'trace: Operation not permitted'],
      ...['VmLck:\t       8 kB', 'core: limit 0, signal'],
    ];
    for (const line of denied) expect(hidden.split(line), line).to.have.length(3);
    for (const signal of [os.constants.signals.SIGQUIT, os.constants.signals.SIGABRT])
      expect(hidden).to.include(`signal ${signal}, none\n`);
    expect(await holdersOf(bench().runDir('r'), [passphrase, key, key.toString('hex')])).to.deep.equal([]);
    for (const line of [
      /^line 1 is in \/proc\/\d+\/cmdline$/m,
      /^line 1 is in \/proc\/\d+\/environ$/m,
      /^line 2 is in \/sys\/module\/lemona\/parameters\/server$/m,
      /^line 2 is in the kernel's log$/m,
      /^line 1 is in \/cores\/core$/m,
      ...[/^memory: open$/m, /^trace: done$/m, /^core: limit -1, signal 6, dumped$/m],
    ])
      expect(shown).to.match(line);
  });

  it("leaves nothing behind in a guest whose kernel crashes: the host takes it from the guest's memory", async () => {
    const error = await bench()
      .record('r', `${WORK}; echo 1 > /root/last-words; echo c > /proc/sysrq-trigger`, {
        // Sub-buffers leave only when they are full.
        kernelArgs: ['lemona.flush_ms=1000000'],
      })
      .catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(LabError);
    expect((error as LabError).code).to.equal('LAB_GUEST_PANIC');
    const { manifest } = await openRun(bench().runDir('r'));
    expect(manifest.problems.join('\n')).to.match(/[1-9]\d* sub-buffers \(\d+ bytes\) were recovered/);
    let isThere = false;
    for await (const { record } of eventsOf(bench().runDir('r'), { kinds: new Set(['effect']) })) {
      if (record.kind === 'effect' && record.effect.op === 'CREATE' && record.effect.name.toString() === 'last-words')
        isThere = true;
    }
    expect(isThere, 'the file made just before the crash').to.equal(true);
    const account = await accountOf(bench().runDir('r'));
    expect([account.gaps.length, account.missing]).to.deep.equal([0, 0n]);
  });
});

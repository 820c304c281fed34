// SPDX-License-Identifier: MIT
/** A real driver and a real server, and what is between them: a man in the middle, and a network or a server that is late. */
import { appendFile, cp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { WIRE_HEARTBEAT_MS } from '../../lab/abi/wire.js';
import { auditRun } from '../../lab/audit/audit.js';
import { MACHINE } from '../../lab/run/socket-receiver.js';
import { pointFolderAt } from '../../lab/server/point.js';
import { askStatus } from '../../lab/server/status.js';
import { eventsOf } from '../../lab/trace/events.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { freePort } from '../../lab/util/free-port.js';
import { useBench } from '../harness/boot.js';
import { FaultyLink } from '../harness/faulty-link.js';
import { guestProgram } from '../harness/program.js';
import { bootOf, receiverOf } from '../harness/server-receiver.js';
import { demandWhole } from '../harness/whole.js';
import type { Side } from '../support/messages.js';
import { ServerProcess } from '../support/server-process.js';
import { ATTACKS, tapFor } from '../support/taps.js';
import { nop, subbuf } from '../support/trace-builder.js';

const WORK = 'mkdir /root/w; for i in 1 2 3 4 5 6 7 8; do echo $i > /root/w/$i; mv /root/w/$i /root/w/n$i; done';
const SIDES: readonly Side[] = ['guest', 'server'];
const RECONNECT_MS = 120_000;
/** A driver waits so long before its second connection, and at most before any. */
const [RETRY_MS, RETRY_MAX_MS] = [100, 5000];
/** Between the last of so many connections a driver waits for seconds. */
const ATTEMPTS = 7;

describe('the wire', () => {
  const bench = useBench();
  let server: ServerProcess;
  let link: FaultyLink;
  let close = async () => {};

  afterEach(async () => {
    await close();
    close = async () => {};
  });

  /** A server that does not run yet, behind a link. */
  async function enroll(): Promise<Buffer> {
    server = new ServerProcess(path.join(bench().folder, 'point'), await freePort());
    link = await FaultyLink.listen(() => server.port, true);
    close = async () => {
      link.close();
      await server.kill();
    };
    return ServerProcess.enroll(server.dir, [MACHINE], 'noise');
  }

  const logged = (event: string) => server.log.filter((line) => line.event === event);

  /** The record begins with the first program, and has what that did. */
  async function demandFirst(): Promise<void> {
    const kinds = new Set(['exec', 'exit', 'entry'] as const);
    const lines: string[] = [];
    for await (const { line } of eventsOf(bench().runDir('r'), { kinds, limit: 3 })) lines.push(line);
    expect(lines[0]).to.match(/ 1 init\[1\] EXEC "\/init"/);
    expect(lines[1]).to.match(/ 1 init\[1\] EXIT execve = 0/);
    expect(lines[2]).to.match(/ 1 init\[1\] ENTRY /);
  }

  it('tells both sides of a message that was altered, replayed or reordered, whoever sent it, and goes on', async () => {
    const key = await enroll();
    await server.start();
    const stdin = new PassThrough();
    const attack = async () => {
      const connected = (connections: number) =>
        pollUntil(() => (logged('connected').length >= connections ? true : undefined), {
          label: `connection ${connections}`,
          timeoutMs: RECONNECT_MS,
        });
      let connections = 1;
      await connected(connections);
      for (const side of SIDES) {
        for (const kind of ATTACKS) {
          const alter = (bytes: Buffer) => bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
          link.tap(
            side,
            tapFor(kind, alter, () => {}),
          );
          await connected(++connections);
        }
      }
      return pollUntil(
        async () => (await askStatus(pointFolderAt(server.dir)))?.senders.find((s) => s.refusals === '6'),
        {
          label: 'a heartbeat that tells of six',
          timeoutMs: RECONNECT_MS,
        },
      );
    };
    let attacked: ReturnType<typeof attack> | undefined;
    const { manifest, output } = await bench().record(
      'r',
      `${WORK}; read line; ${WORK.replaceAll('/w', '/x')}; dmesg`,
      {
        config: 'static-socket-encrypted',
        stdin,
        listenForGuest: ({ folder }) => Promise.resolve(receiverOf(server, key, link, folder)),
        onMachine: () => {
          attacked = attack().finally(() => stdin.end('go\n'));
          attacked.catch(() => {});
        },
      },
    );
    // On a host with nothing else to do these are 7 connections, 3 refusals by the server and 6 lines of the guest. On a busy
    // one the guest's log has fewer: it says nothing twice of connections that end before they are ready. The heartbeat
    // that was waited for has all six.
    expect(Number((await attacked)?.connects)).to.be.at.least(7);
    expect(manifest.state).to.equal('complete');
    const refused = logged('refused').map(({ status }) => status);
    expect(refused).to.have.length.of.at.least(1);
    expect(refused.filter((status) => status !== 'TAMPERED')).to.deep.equal([]);
    const said = output.match(/7021: a message was altered, replayed or reordered/g);
    expect(said?.length, output).to.be.within(SIDES.length, SIDES.length * ATTACKS.length);
    const { findings, isClosed } = await auditRun((await bootOf(server)) ?? '');
    expect([findings, isClosed]).to.deep.equal([[], true]);
    await demandWhole(bench(), 'r');
  });

  it('misses nothing of a machine whose network comes up when it has worked', async () => {
    const script = `${WORK}; dmesg; ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
      until dmesg | grep -q 7021:.connected; do sleep 0.1; done; echo connected; mkdir /root/later`;
    const { manifest, output } = await bench().record('r', script, {
      config: 'static-socket-encrypted',
      // The last one counts.
      kernelArgs: ['ip=off'],
    });
    expect(manifest.state).to.equal('complete');
    expect(output).to.match(/7021: -101; will connect again/);
    expect(output).to.not.include('7021: connected');
    expect(output).to.match(/^connected$/m);
    await demandFirst();
    await demandWhole(bench(), 'r');
  });

  it('misses nothing of a machine whose only server is started when it has worked', async () => {
    const key = await enroll();
    const stderr = new PassThrough();
    let started: Promise<void> | undefined;
    stderr.once('data', () => {
      started = server.start();
    });
    const { manifest, output } = await bench().record(
      'r',
      `${WORK}; echo worked >&2; until dmesg | grep -q 7021:.connected; do sleep 0.1; done; dmesg`,
      {
        config: 'static-socket-encrypted',
        stderr,
        listenForGuest: ({ folder }) => Promise.resolve(receiverOf(server, key, link, folder)),
      },
    );
    await started;
    expect(manifest.state).to.equal('complete');
    expect(output).to.match(/7021: .*will connect again.*7021: connected/s);
    expect(logged('connected')).to.have.length(1);
    await demandFirst();
    await demandWhole(bench(), 'r');
  });

  it('brings a machine to a server that refuses it ever more rarely, however much there is to send', async () => {
    const key = await enroll();
    let started: Promise<void> | undefined;
    const { manifest, output } = await bench().record(
      'r',
      `until dmesg | grep -q 7021:.connected; do dd if=/dev/urandom of=/root/f bs=64k count=4 2>/dev/null; sleep 0.1; done`,
      {
        config: 'static-socket-encrypted',
        // Many of them become full, and each tells the driver that there is something to send.
        kernelArgs: ['lemona.subbuf_kb=96'],
        listenForGuest: ({ folder }) => Promise.resolve(receiverOf(server, key, link, folder)),
        onMachine: () => {
          started = pollUntil(() => (link.connectedMs.length >= ATTEMPTS ? true : undefined), {
            label: `connection ${ATTEMPTS}`,
            timeoutMs: RECONNECT_MS,
          }).then(() => server.start());
          started.catch(() => {});
        },
      },
    );
    await started;
    expect(manifest.state, output).to.equal('complete');
    const waits = link.connectedMs.slice(1, ATTEMPTS).map((ms, i) => ms - (link.connectedMs[i] ?? 0));
    // How long a connection takes to be refused is not always the same.
    for (const [i, ms] of waits.entries())
      expect(ms, waits.join(' ')).to.be.above(Math.min(RETRY_MS * 2 ** i, RETRY_MAX_MS) / 2);
    await demandWhole(bench(), 'r');
  });

  it('says nothing after the end, and waits for a server that is late to close', async () => {
    const key = await enroll();
    await server.start();
    // Longer than between two heartbeats.
    link.lateEndMs = 3 * WIRE_HEARTBEAT_MS;
    const { manifest } = await bench().record('r', WORK, {
      config: 'static-socket-encrypted',
      listenForGuest: ({ folder }) => Promise.resolve(receiverOf(server, key, link, folder)),
    });
    expect(manifest.state).to.equal('complete');
    expect(link.connectedMs).to.have.length(1);
    await demandWhole(bench(), 'r');
  });

  it('says the end again to a server whose answer was lost', async () => {
    const key = await enroll();
    await server.start();
    link.lostEnds = 1;
    const { manifest } = await bench().record('r', WORK, {
      config: 'static-socket-encrypted',
      listenForGuest: ({ folder }) => Promise.resolve(receiverOf(server, key, link, folder)),
    });
    expect(manifest.state).to.equal('complete');
    expect(link.connectedMs).to.have.length(2);
    await demandWhole(bench(), 'r');
  });

  it('brings a machine to no server that has more of its boot than there is, as after it was put back', async () => {
    const key = await enroll();
    await server.start();
    let boot = '';
    const kept = path.join(bench().folder, 'kept');
    /** What the guest says, and what is done to the server then. */
    const acts: Readonly<Record<string, () => Promise<void>>> = {
      worked: async () => {
        await server.kill();
        boot = (await bootOf(server)) ?? '';
        await cp(boot, kept, { recursive: true });
        const [last = ''] = (await readdir(path.join(kept, 'segments'))).slice(-1);
        const bootId = BigInt(`0x${path.basename(boot)}`);
        const beyond = subbuf([nop(1n)], { number: 1_000_000n, bootId });
        await appendFile(path.join(boot, 'segments', last), beyond);
        await server.start();
      },
      told: async () => {
        await server.kill();
        await rm(boot, { recursive: true });
        await cp(kept, boot, { recursive: true });
        await server.start();
      },
    };
    let acting = Promise.resolve();
    const stderr = new PassThrough();
    const said = createInterface({ input: stderr });
    said.on('line', (line) => {
      acting = acting.then(acts[line]);
    });
    const { manifest, output } = await bench().record(
      'r',
      `chmod +x /root/drain; ${WORK}; /root/drain; echo worked >&2; until dmesg | grep -q 'put back'; do sleep 0.1; done
       mkdir /root/more; echo told >&2; /root/drain; dmesg`,
      {
        ...{ config: 'static-socket-encrypted', stderr },
        copyIn: [{ source: await guestProgram('drain', bench().folder), destination: '/root/drain' }],
        listenForGuest: ({ folder }) => Promise.resolve(receiverOf(server, key, link, folder)),
      },
    );
    await acting;
    expect(output).to.match(/7021: connected.*7021: has more of this boot than there is.*7021: connected/s);
    expect(manifest.state).to.equal('complete');
    await demandWhole(bench(), 'r');
  });
});

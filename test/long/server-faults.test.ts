// SPDX-License-Identifier: MIT
/**
 * Two hundred random faults, in mode Noise and plain: cuts, stalls, altered, replayed and reordered messages, the server
 * killed with SIGKILL, its disk full. Whatever the order, the segments hold each sub-buffer once.
 *
 *   LEMONA_SERVER_FAULTS   how many faults, 200 unless told
 *   LEMONA_SEED            repeats a run, as far as time allows
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { MODE } from '../../lab/link/wire.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { withDeadline } from '../../lab/util/deadline.js';
import { freePort } from '../../lab/util/free-port.js';
import { Random } from '../fuzz/random.js';
import { sh } from '../harness/sh.js';
import { skip } from '../harness/skip.js';
import { ServerProcess } from '../support/server-process.js';
import { type SimConnection, SimDriver } from '../support/sim-driver.js';
import { ATTACKS, tapFor } from '../support/taps.js';
import { nop, subbuf } from '../support/trace-builder.js';

const FAULTS = Number(process.env.LEMONA_SERVER_FAULTS ?? 200);
const SEED = Number(process.env.LEMONA_SEED ?? 1 + Math.floor(Math.random() * 1_000_000));
const DISK_MIB = 192;
/** Each driver comes again within 20 ms; the machine may be busy with something else. */
const ALL_ACKED_MS = 120_000;
const CPUS = 3;
const BOOT = 0x00c0ffee00c0ffeen;

const MACHINES = [
  { name: 'n1', mode: MODE.NOISE },
  { name: 'n2', mode: MODE.NOISE },
  { name: 'p1', mode: MODE.PLAIN },
  { name: 'p2', mode: MODE.PLAIN },
] as const;

/** A machine that always has something to send. */
class Sender {
  readonly driver: SimDriver;
  readonly sums = new Map<string, string>();
  connection: SimConnection | undefined;
  #next: bigint[] = Array.from({ length: CPUS }, () => 0n);
  /** Records of each CPU so far: who comes again goes on where it was. */
  readonly #issued: bigint[] = Array.from({ length: CPUS }, () => 0n);

  constructor(driver: SimDriver) {
    this.driver = driver;
  }

  feed(random: Random): void {
    for (let i = 0; i < 12; i++) {
      const cpu = random.below(CPUS);
      const number = this.#next[cpu] ?? 0n;
      this.#next[cpu] = number + 1n;
      const records = Array.from({ length: 1 + random.below(random.oneIn(8) ? 3000 : 100) }, (_, at) =>
        nop(BigInt(at + 1)),
      );
      const issued = (this.#issued[cpu] ?? 0n) + BigInt(records.length);
      this.#issued[cpu] = issued;
      const bytes = subbuf(records, { cpu, number, bootId: BOOT, issued });
      this.sums.set(`${cpu}/${number}`, createHash('sha256').update(bytes).digest('hex'));
      this.driver.put(cpu, number, bytes);
    }
  }
}

/** Flips a bit. */
function flip(bytes: Buffer, random: Random): void {
  const at = random.below(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
}

describe(`a logging server under random faults (LEMONA_SEED=${SEED})`, () => {
  it(`loses nothing and doubles nothing in ${FAULTS} of them`, async function () {
    const random = new Random(SEED);
    const folder = await mkdtemp(join(tmpdir(), 'lemona-test-'));
    const disk = join(folder, 'disk');
    await mkdir(disk);
    await sh`mount -t tmpfs -o size=${DISK_MIB}m tmpfs ${disk}`.catch((error: unknown) =>
      skip(this, `no tmpfs can be mounted: ${String(error).split('\n')[0]}`),
    );
    const point = join(disk, 'point');
    const filler = join(disk, 'filler');
    const server = new ServerProcess(point, await freePort());
    let senders: Sender[] = [];
    let isOver = false;
    try {
      const key = await ServerProcess.enroll(
        point,
        MACHINES.map(({ name }) => name),
        'any',
      );
      await server.start();
      senders = MACHINES.map(
        ({ name, mode }) =>
          new Sender(new SimDriver({ port: server.port, machine: name, key, mode, bootId: BOOT, cpus: CPUS })),
      );
      const counts: Record<string, number> = {};
      const count = (kind: string) => {
        counts[kind] = (counts[kind] ?? 0) + 1;
      };
      const total = () => Object.values(counts).reduce((sum, n) => sum + n, 0);
      const sending = senders.map(async (sender) => {
        while (!isOver) {
          sender.feed(random);
          await sender.driver.deliver((connection) => {
            sender.connection = connection;
          });
          sender.connection = undefined;
          await sleep(30);
        }
      });
      const onServer: Record<string, () => Promise<void>> = {
        'kill -9': async () => {
          await server.kill();
          await sleep(random.below(300));
          await server.start();
        },
        'disk full': async () => {
          // It ends with an error when nothing more fits, and leaves what did.
          await sh({ nothrow: true })`dd if=/dev/zero of=${filler} bs=64k`;
          await sleep(300 + random.below(1500));
          await rm(filler);
        },
      };
      while (total() < FAULTS) {
        await sleep(random.below(120));
        const serverFault = random.oneIn(10) ? random.pick(Object.entries(onServer)) : undefined;
        if (serverFault !== undefined) {
          await serverFault[1]();
          count(serverFault[0]);
          continue;
        }
        const { connection } = random.pick(senders);
        if (connection === undefined || connection.socket.destroyed) continue;
        const kind = random.pick(['cut', 'stall', ...ATTACKS] as const);
        if (kind === 'cut') {
          connection.socket.destroy();
          count(kind);
        } else if (kind === 'stall') {
          connection.socket.cork();
          connection.socket.pause();
          setTimeout(() => {
            connection.socket.uncork();
            connection.socket.resume();
          }, random.below(800));
          count(kind);
        } else
          connection.tap = tapFor(
            kind,
            (bytes) => flip(bytes, random),
            () => count(kind),
          );
      }
      isOver = true;
      await withDeadline(Promise.all(sending), {
        label: 'all acknowledged',
        timeoutMs: ALL_ACKED_MS,
        lastSeen: () => `${senders.map(({ driver }) => driver.waiting).join(', ')} sub-buffers wait`,
      });
      await server.stop();
      for (const { driver, sums } of senders) {
        const seen = new Map<string, string>();
        let doubled = 0;
        const boot = join(point, 'machines', driver.options.machine, 'boots', BOOT.toString(16).padStart(16, '0'));
        const audit = await auditRun(boot);
        const unsigned = audit.unsigned.map(({ file }) => file);
        expect([audit.findings, unsigned], 'its evidence').to.deep.equal([[], ['run.json']]);
        for await (const item of readSegments(join(boot, 'segments'))) {
          if (item.type === 'problem') throw new Error(`segment ${item.segment} at ${item.offset}: ${item.detail}`);
          const name = `${item.header.cpu}/${item.header.number}`;
          if (seen.has(name)) doubled++;
          seen.set(name, createHash('sha256').update(item.bytes).digest('hex'));
        }
        expect(doubled, 'doubled').to.equal(0);
        expect(seen.size, 'lost').to.equal(sums.size);
        expect([...seen].every(([name, sum]) => sums.get(name) === sum)).to.equal(true);
      }
      const sent = senders.reduce((sum, { sums }) => sum + sums.size, 0);
      const connects = senders.reduce((sum, { driver }) => sum + driver.connects, 0);
      const refused = server.log.filter(({ event }) => event === 'refused').map(({ status }) => String(status));
      const names = [...new Set(refused)].map((name) => `${refused.filter((other) => other === name).length} ${name}`);
      console.log(
        `      ${JSON.stringify(counts)}; ${sent} sub-buffers, ${connects} connections; refused: ${names.join(', ')}`,
      );
    } finally {
      isOver = true;
      for (const { driver } of senders) driver.stop();
      await server.kill();
      await sh`umount -l ${disk}`;
      await rm(folder, { recursive: true, force: true });
    }
  });
});

// SPDX-License-Identifier: MIT
/**
 * Strangers at the receiver's port: random bytes, mutated openings, connections that stay half open, slow ones, floods of
 * handshakes. An honest sender gets everything through meanwhile, and nearly as fast as without them.
 *
 *   LEMONA_FUZZ_PEERS   how many strangers in the first test, 3000 unless told
 *   LEMONA_SEED         repeats a run
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { median } from '../../lab/bench/statistics.js';
import { FRAME, MODE } from '../../lab/link/wire.js';
import { openPoint } from '../../lab/server/point.js';
import { askStatus } from '../../lab/server/status.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { freePort } from '../../lab/util/free-port.js';
import { ServerProcess } from '../support/server-process.js';
import { SimConnection } from '../support/sim-driver.js';
import { info, subbuf } from '../support/trace-builder.js';
import { expectedNumbers, feed, readStored, SIM_BOOT, startPoint, testFolder } from '../support/wire-point.js';
import { Random } from './random.js';
import { ATTACKS, STRANGERS } from './strangers.js';

const PEERS = Number(process.env.LEMONA_FUZZ_PEERS ?? 3000);
const SEED = Number(process.env.LEMONA_SEED ?? 1 + Math.floor(Math.random() * 1_000_000));
/** Strangers at once: more than the openings that the server allows. */
const CROWD = 80;
const LIMITS = { openings: 40, openingsOfAddress: 40, openingMs: 500 };
const BATCH = 20;

/** Of the second test: more than a server takes unless told, of each address too. */
const GREAT_CROWD = 600;
/** What is measured at a time, without strangers and with them by turns. */
const SPELL_MS = 2000;
const PAIRS = 3;
/** Sub-buffers of the honest sender that are not acknowledged yet, at most; and their bytes. */
const UNDER_WAY = 64;
const SUBBUF_BYTES = 16_384;
/** Of another machine, in each pair; and how soon one is tried again that was refused. */
const OPENINGS = 5;
const RETRY_MS = 20;
const CALM_MS = 60_000;
const WANTED_SHARE = 0.25;
const SLOWEST_ACK_MS = 5000;
const SLOWEST_OPENING_MS = 20_000;

describe(`strangers at the port of a server (LEMONA_SEED=${SEED})`, () => {
  it(`do not disturb an honest sender, nor bring the server down, ${PEERS} of them`, async () => {
    const random = new Random(SEED);
    const folder = await testFolder();
    const point = await startPoint(folder, { limits: LIMITS, segmentBytes: 1_000_000 });
    const crowd = new Set<Socket>();
    let came = 0;
    let isOver = false;
    const comeOne = () => {
      if (isOver || came >= PEERS) return;
      came++;
      const socket = connect(point.server.port, '127.0.0.1');
      crowd.add(socket);
      socket.on('error', () => {});
      socket.resume();
      socket.once('close', () => {
        crowd.delete(socket);
        comeOne();
      });
      random.pick(STRANGERS[random.pick(ATTACKS)])(random, socket);
    };
    const driver = point.driver();
    try {
      for (let i = 0; i < CROWD; i++) comeOne();
      let rounds = 0;
      while (came < PEERS) {
        // A driver that already has 20 more each time would skip numbers: each round is a boot of its own.
        const honest = point.driver('m', MODE.NOISE, SIM_BOOT + BigInt(++rounds));
        feed(honest, BATCH);
        await honest.deliver();
        expect(honest.progress).to.equal(BATCH);
      }
      feed(driver, BATCH);
      await driver.deliver();
      console.log(
        `      ${came} strangers, ${rounds} honest deliveries; ${JSON.stringify([...point.server.refusals])}`,
      );
      expect(point.server.openings).to.be.at.most(LIMITS.openings);
    } finally {
      isOver = true;
      for (const socket of crowd) socket.destroy();
      await point.server.close();
    }
    const { numbers, problems } = await readStored(join(folder, `m-${SIM_BOOT.toString(16)}`));
    expect([numbers, problems]).to.deep.equal([expectedNumbers(4, BATCH), []]);
    await rm(folder, { recursive: true });
  });

  it('leave it its rate, soon acknowledged, and let newcomers in', async () => {
    const folder = await testFolder();
    const server = new ServerProcess(join(folder, 'point'), await freePort());
    const key = await ServerProcess.enroll(server.dir, ['m', 'm2'], 'noise');
    let strangers: Strangers | undefined;
    try {
      await server.start();
      strangers = new Strangers(server.port);
      const options = { port: server.port, key, mode: MODE.NOISE, cpus: 1 };
      const honest = await Honest.open({ ...options, machine: 'm', bootId: SIM_BOOT });
      const newcomer = { ...options, machine: 'm2', bootId: SIM_BOOT };
      await honest.spell(SPELL_MS);
      for (const attack of ATTACKS) {
        const shares: number[] = [];
        let [ackMs, openingMs, tries, came] = [0, 0, 0, 0];
        for (let pair = 0; pair < PAIRS; pair++) {
          await calm(server);
          const quiet = await honest.spell(SPELL_MS);
          const before = await strangers.turnTo(attack);
          const beganMs = performance.now();
          const attacked = await honest.spell(SPELL_MS);
          for (let i = 0; i < OPENINGS; i++) {
            const opening = await openOne(newcomer);
            openingMs = Math.max(openingMs, opening.ms);
            tries += opening.tries;
          }
          const perSecond = (1000 * ((await strangers.turnTo('peace')) - before)) / (performance.now() - beganMs);
          came = Math.max(came, perSecond);
          shares.push(attacked.perSecond / quiet.perSecond);
          ackMs = Math.max(ackMs, attacked.slowestAckMs);
          const said = ({ perSecond, slowestAckMs }: Spell) =>
            `${perSecond.toFixed(0)} sub-buffers/s, each acknowledged within ${slowestAckMs.toFixed(0)} ms`;
          process.stderr.write(`      ${attack}: ${said(attacked)}; before, ${said(quiet)}\n`);
        }
        const share = median(shares);
        process.stderr.write(
          `      ${attack}, ${came.toFixed(0)} a second: ${(100 * share).toFixed(0)} % of the rate; ` +
            `${PAIRS * OPENINGS} openings in ${tries} tries, the slowest in ${openingMs.toFixed(0)} ms\n`,
        );
        expect(share, attack).to.be.at.least(WANTED_SHARE);
        expect(ackMs, attack).to.be.at.most(SLOWEST_ACK_MS);
        expect(openingMs, attack).to.be.at.most(SLOWEST_OPENING_MS);
      }
      await honest.end();
    } finally {
      strangers?.kill();
      await server.stop();
      await rm(folder, { recursive: true });
    }
  });
});

/** The crowd, on the same processors as the server and the honest sender. */
class Strangers {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(port: number) {
    const program = join(import.meta.dirname, 'strangers-main.ts');
    const args = ['--import', 'tsx', program, String(port), String(SEED), String(GREAT_CROWD)];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** @returns how many have come since the beginning */
  async turnTo(attack: string): Promise<number> {
    this.#child.stdin?.write(`${attack}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('the strangers are gone');
    return Number(line.value);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** The server is done with the strangers that are gone: what they left in its queue would slow the next spell. */
async function calm(server: ServerProcess): Promise<void> {
  const point = await openPoint(server.dir);
  let before = -1;
  const isCalm = async () => {
    const status = await askStatus(point);
    const refused = Object.values(status?.refusals ?? {}).reduce((sum, count) => sum + count, 0);
    const isOver = status?.openings === 0 && refused === before;
    before = refused;
    return isOver || undefined;
  };
  await pollUntil(isCalm, { label: 'an end of refusals', timeoutMs: CALM_MS, intervalMs: 200 });
}

/** What an honest sender has seen in a time. */
interface Spell {
  /** Sub-buffers that were acknowledged. */
  readonly perSecond: number;
  readonly slowestAckMs: number;
}

/** Sends as fast as it is acknowledged, over one connection that must last. */
class Honest {
  readonly #connection: SimConnection;
  /** When those were sent that are not acknowledged. */
  readonly #sentMs: number[] = [];
  #sent = 0n;
  #acked = 0n;
  #slowestMs = 0;
  #isOver = false;
  #isBroken = false;
  #wake = () => {};
  readonly #sending: Promise<void>;

  private constructor(connection: SimConnection) {
    this.#connection = connection;
    connection.onAck = (streams) => this.#hear(streams.get(0) ?? 0n);
    void connection.closed.then(() => {
      this.#isBroken = !this.#isOver;
      this.#wake();
    });
    this.#sending = this.#send();
  }

  static async open(options: Parameters<typeof SimConnection.open>[0]): Promise<Honest> {
    return new Honest(await SimConnection.open(options));
  }

  #hear(next: bigint): void {
    for (; this.#acked < next; this.#acked++) this.#look(this.#sentMs.shift());
    this.#wake();
  }

  #look(sentMs = performance.now()): void {
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - sentMs);
  }

  async #send(): Promise<void> {
    const record = info('x'.repeat(SUBBUF_BYTES));
    while (!this.#isOver && !this.#isBroken) {
      if (this.#sentMs.length >= UNDER_WAY)
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      else {
        this.#sentMs.push(performance.now());
        const number = this.#sent++;
        const bytes = subbuf([record], { number, issued: number + 1n, bootId: SIM_BOOT });
        await this.#connection.send(FRAME.SUBBUF, bytes);
      }
    }
  }

  /** What it sees in the time that comes. */
  async spell(ms: number): Promise<Spell> {
    const [beganMs, acked] = [performance.now(), this.#acked];
    this.#slowestMs = 0;
    await sleep(ms);
    // Those that still wait count as well.
    if (this.#sentMs[0] !== undefined) this.#look(this.#sentMs[0]);
    expect(this.#isBroken, 'its connection was broken').to.equal(false);
    const perSecond = (1000 * Number(this.#acked - acked)) / (performance.now() - beganMs);
    return { perSecond, slowestAckMs: this.#slowestMs };
  }

  async end(): Promise<void> {
    this.#isOver = true;
    this.#wake();
    await this.#sending;
    this.#connection.socket.destroy();
  }
}

/** As a driver does: again, until it is let in. */
async function openOne(options: Parameters<typeof SimConnection.open>[0]): Promise<{ ms: number; tries: number }> {
  const beganMs = performance.now();
  for (let tries = 1; ; tries++) {
    const opened = await SimConnection.open(options).catch(() => undefined);
    if (opened !== undefined) {
      opened.socket.destroy();
      return { ms: performance.now() - beganMs, tries };
    }
    await sleep(RETRY_MS);
  }
}

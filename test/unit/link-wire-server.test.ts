// SPDX-License-Identifier: MIT
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { WireRefused } from '../../lab/link/sender.js';
import { FRAME, frame, MODE, packEnds, packStreams } from '../../lab/link/wire.js';
import { partOf } from '../../lab/trace/parts.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { LabError } from '../../lab/util/errors.js';
import { SimConnection, type SimDriver } from '../support/sim-driver.js';
import { info, nop, subbuf } from '../support/trace-builder.js';
import {
  expectedNumbers,
  feed,
  readStored,
  SIM_BOOT,
  startPoint,
  type TestPoint,
  testFolder,
} from '../support/wire-point.js';

const FOLDER = `m-${SIM_BOOT.toString(16)}`;

const MODES = [
  ['plain', MODE.PLAIN],
  ['noise', MODE.NOISE],
] as const;

describe('the receiver', () => {
  let folder: string;
  const points: TestPoint[] = [];

  beforeEach(async () => {
    folder = await testFolder();
  });

  afterEach(async () => {
    for (const { server } of points.splice(0)) await server.close();
    await rm(folder, { recursive: true });
  });

  async function start(options: Parameters<typeof startPoint>[1] = {}): Promise<TestPoint> {
    const point = await startPoint(folder, options);
    points.push(point);
    return point;
  }

  async function stop(point: TestPoint): Promise<void> {
    points.splice(points.indexOf(point), 1);
    await point.server.close();
  }

  async function demandAll(count: number): Promise<void> {
    const { numbers, problems } = await readStored(join(folder, FOLDER));
    expect(problems).to.deep.equal([]);
    expect(numbers).to.deep.equal(expectedNumbers(4, count));
  }

  for (const [name, mode] of MODES) {
    it(`stores what a driver sends, ${name}, in sealed segments, and acknowledges all of it`, async () => {
      const point = await start();
      const driver = point.driver('m', mode);
      feed(driver, 80, () => 8);
      await driver.deliver();
      await stop(point);
      await demandAll(80);
      expect((await readdir(join(folder, FOLDER))).length).to.be.above(1);
    });
  }

  it('keeps the bytes of each sub-buffer as they are, however large', async () => {
    const point = await start({ segmentBytes: 1024 * 1024 });
    const driver = point.driver();
    const large = subbuf(Array.from({ length: 6_000 }, (_, i) => nop(BigInt(i + 1))));
    driver.put(0, 0n, large);
    await driver.deliver();
    await stop(point);
    const segment = await readFile(join(folder, FOLDER, '000000.seg'));
    expect(segment.subarray(64, segment.length - 64).equals(large)).to.equal(true);
  });

  for (const [name, mode] of MODES) {
    it(`keeps them too when the next ones are read while the disk takes them, ${name}`, async () => {
      const point = await start({ segmentBytes: 64 * 1024 * 1024 });
      const driver = point.driver('m', mode);
      const sent = Array.from({ length: 3000 }, (_, number) =>
        subbuf([info(`${number}${'x'.repeat((number * 97) % 4000)}${number}`)], { cpu: 0, number: BigInt(number) }),
      );
      for (const [number, bytes] of sent.entries()) driver.put(0, BigInt(number), bytes);
      await driver.deliver();
      await stop(point);
      const segment = await readFile(join(folder, FOLDER, '000000.seg'));
      expect(segment.subarray(64, segment.length - 64).equals(Buffer.concat(sent))).to.equal(true);
    });
  }

  it('refuses a stranger, another key, a mode that is not allowed and another version, each by name', async () => {
    const point = await start({ modes: [MODE.NOISE] });
    const status = async (change: Partial<SimDriver['options']>) => {
      const error: unknown = await SimConnection.open({ ...point.driver().options, ...change }).catch(
        (e: unknown) => e,
      );
      return error instanceof WireRefused ? error.status : error;
    };
    expect(await status({ machine: 'stranger' })).to.equal('UNKNOWN_MACHINE');
    expect(await status({ machine: '../m' })).to.equal('UNKNOWN_MACHINE');
    expect(await status({ key: randomBytes(32) })).to.equal('BAD_KEY');
    expect(await status({ mode: MODE.PLAIN })).to.equal('BAD_MODE');
    expect(await status({ cpus: 0 })).to.equal('BAD_FRAME');
    expect(Object.fromEntries(point.server.refusals)).to.deep.equal({
      ...{ UNKNOWN_MACHINE: 2, BAD_KEY: 1, BAD_MODE: 1, BAD_FRAME: 1 },
    });
    const plain = await start({});
    const error: unknown = await SimConnection.open({
      ...plain.driver().options,
      ...{ mode: MODE.PLAIN, key: randomBytes(32) },
    }).catch((e: unknown) => e);
    expect(error).to.include({ status: 'BAD_KEY' });
    expect(await readdir(folder)).to.deep.equal([]);
  });

  it('refuses an altered, a replayed and a reordered message, and the driver is told', async () => {
    const point = await start();
    const taps = {
      altered: (messages: readonly Buffer[]) =>
        messages.map((bytes) => Buffer.from(bytes.map((b, i) => (i === 40 ? b ^ 1 : b)))),
      replayed: (messages: readonly Buffer[]) => messages.flatMap((bytes) => [bytes, bytes]),
    };
    for (const [name, tap] of Object.entries(taps)) {
      const connection = await SimConnection.open(point.driver().options);
      connection.tap = tap;
      await connection.send(FRAME.SUBBUF, subbuf([nop(1n)]));
      expect(await connection.closed, name).to.equal('TAMPERED');
    }
    const connection = await SimConnection.open(point.driver().options);
    let held: Buffer[] = [];
    connection.tap = (messages) => {
      held = [...messages, ...held];
      return held.length === 2 ? held : [];
    };
    await connection.send(FRAME.SUBBUF, subbuf([nop(1n)]));
    await connection.send(FRAME.SUBBUF, subbuf([nop(2n)], { number: 1n }));
    expect(await connection.closed, 'reordered').to.equal('TAMPERED');
    expect(point.server.refusals.get('TAMPERED')).to.equal(3);
  });

  it('refuses frames and sub-buffers that break the format: sent twice, of another boot or CPU, damaged', async () => {
    const point = await start();
    const good = subbuf([nop(1n)]);
    const damaged = Buffer.from(good);
    damaged[100] = (damaged[100] ?? 0) ^ 1;
    const cases: Record<string, readonly (readonly [number, Buffer])[]> = {
      'sent twice': [
        [FRAME.SUBBUF, good],
        [FRAME.SUBBUF, good],
      ],
      'another boot': [[FRAME.SUBBUF, subbuf([nop(1n)], { bootId: 7n })]],
      'a part where wholes were promised': [[FRAME.SUBBUF, partOf(good, 'disk')]],
      'another CPU': [[FRAME.SUBBUF, subbuf([nop(1n)], { cpu: 4 })]],
      damaged: [[FRAME.SUBBUF, damaged]],
      'longer than it says': [[FRAME.SUBBUF, Buffer.concat([good, Buffer.alloc(8)])]],
      'a frame of the server': [[FRAME.ACK, packStreams([[0, 9n]])]],
      'no such frame': [[99, Buffer.alloc(8)]],
      'an end of streams that it has not': [[FRAME.END, packEnds([[4, { next: 0n, all: 0n }]])]],
      'an end that is before what was sent': [[FRAME.END, packEnds([[0, { next: 1n, all: 0n }]])]],
      'two ends of a stream': [[FRAME.END, Buffer.concat([1n, 2n].map((all) => packEnds([[0, { next: 0n, all }]])))]],
      'a heartbeat that is too long': [[FRAME.HEARTBEAT, Buffer.alloc(72)]],
      'a length that is no multiple of 8': [[FRAME.SUBBUF, Buffer.alloc(12)]],
    };
    for (const [name, frames] of Object.entries(cases)) {
      const connection = await SimConnection.open(point.driver('m', MODE.PLAIN).options);
      for (const [type, body] of frames) await connection.send(type, body);
      expect(await connection.closed, name).to.equal('BAD_FRAME');
    }
    const network = { ...point.driver('m', MODE.PLAIN).options, category: 1 };
    for (const bytes of [good, partOf(good, 'disk')]) {
      const connection = await SimConnection.open(network);
      await connection.send(FRAME.SUBBUF, bytes);
      expect(await connection.closed, 'a whole, or another part, where parts were promised').to.equal('BAD_FRAME');
    }
    const unknown = await SimConnection.open({ ...network, category: 3 }).catch((error: unknown) => error);
    expect((unknown as WireRefused).status).to.equal('BAD_FRAME');
  });

  it('takes what a driver sends again after a cut once, and in order', async () => {
    const point = await start();
    const driver = point.driver();
    feed(driver, 120, () => 4);
    let connections = 0;
    await driver.deliver((connection) => {
      connections++;
      if (connections < 12) setTimeout(() => connection.socket.destroy(), 3 * connections);
    });
    expect(driver.connects).to.be.above(1);
    await stop(point);
    await demandAll(120);
  });

  it('lets a new connection of the same boot take the place of the old', async () => {
    const point = await start();
    const old = await SimConnection.open(point.driver().options);
    // What the driver's first one is too.
    await old.send(FRAME.SUBBUF, subbuf([1n, 2n, 3n].map((seq) => nop(seq))));
    const driver = point.driver();
    feed(driver, 40);
    await driver.deliver();
    expect(await old.closed).to.equal('REPLACED');
    await stop(point);
    expect((await readStored(join(folder, FOLDER))).numbers.get(0)).to.have.length(10);
  });

  it('refuses another history of a boot, such as of a machine put back to a snapshot, and keeps what it has', async () => {
    const sub = (number: bigint, records: number, issued: bigint) =>
      subbuf(
        Array.from({ length: records }, (_none, i) => nop(10n * number + BigInt(i) + 1n)),
        { number, issued },
      );
    const first = [sub(0n, 2, 2n), sub(1n, 2, 4n)];
    for (const [what, other, others] of [
      // It has recorded less than it had sent before, or is already beyond that.
      ['sub-buffer 1 comes', sub(1n, 3, 5n), sub(2n, 2, 7n)],
      ['there were 5 records; here are all before 2, with 4 records', sub(2n, 2, 7n), sub(3n, 2, 9n)],
    ] as const) {
      const point = await start();
      const driver = point.driver();
      for (const [i, bytes] of first.entries()) driver.put(0, BigInt(i), bytes);
      await driver.deliver();
      const back = await SimConnection.open(driver.options);
      expect([...back.ready]).to.deep.equal([[0, 2n]]);
      await back.send(FRAME.SUBBUF, other);
      await back.send(FRAME.SUBBUF, others);
      expect(await back.closed).to.equal('ENDED');
      const refused = point.events.find(({ event, status }) => event === 'refused' && status === 'ENDED');
      expect(refused?.why).to.contain('another history of this boot').and.to.contain(what);
      // Whichever of the two comes: by READY it would free what it takes for the same.
      const again = await SimConnection.open(driver.options).catch((error: unknown) => error);
      expect((again as WireRefused).status).to.equal('ENDED');
      // Another boot of the same machine is none of it.
      await point.driver('m', MODE.NOISE, 5n).end();
      await stop(point);
      const { numbers, problems } = await readStored(join(folder, FOLDER));
      expect([numbers, problems]).to.deep.equal([new Map([[0, [0n, 1n]]]), []]);
      await rm(join(folder, FOLDER), { recursive: true });
    }
  });

  it('takes numbers that are not dense: it may be one of several servers', async () => {
    const point = await start();
    const driver = point.driver();
    for (const number of [3n, 4n, 9n]) driver.put(1, number, subbuf([nop(number)], { cpu: 1, number }));
    await driver.deliver();
    const again = await SimConnection.open(point.driver().options);
    expect([...again.ready]).to.deep.equal([[1, 10n]]);
    again.socket.destroy();
    await stop(point);
    expect((await readStored(join(folder, FOLDER))).numbers).to.deep.equal(new Map([[1, [3n, 4n, 9n]]]));
  });

  it('goes on behind a torn tail of a server that was killed, and never writes a sealed segment again', async () => {
    const first = await start();
    const driver = first.driver();
    feed(driver, 80, () => 8);
    await driver.deliver();
    await stop(first);
    const names = (await readdir(join(folder, FOLDER))).sort();
    const last = join(folder, FOLDER, names.at(-1) ?? '');
    const sealed = await Promise.all(names.map((name) => readFile(join(folder, FOLDER, name))));
    // As a kill leaves it: no seal, and a part of the next sub-buffer.
    const whole = sealed.at(-1) ?? Buffer.alloc(0);
    const torn = Buffer.concat([whole.subarray(0, whole.length - 64), subbuf([nop(1n)]).subarray(0, 77)]);
    await writeFile(last, torn);
    const second = await start();
    const more = second.driver();
    feed(more, 100, () => 8);
    await more.deliver();
    await stop(second);
    await demandAll(100);
    for (const [i, bytes] of sealed.slice(0, -1).entries())
      expect((await readFile(join(folder, FOLDER, names[i] ?? ''))).equals(bytes)).to.equal(true);
  });

  it('recovers from a last segment that was cut anywhere', async () => {
    const first = await start({ segmentBytes: 4000 });
    const driver = first.driver();
    feed(driver, 12, () => 2);
    await driver.deliver();
    await stop(first);
    const last = join(folder, FOLDER, '000000.seg');
    const whole = await readFile(last);
    for (let cut = 0; cut < whole.length; cut += 411) {
      await rm(join(folder, FOLDER), { recursive: true });
      await mkdir(join(folder, FOLDER));
      await writeFile(last, whole.subarray(0, cut));
      const point = await start({ segmentBytes: 4000 });
      const again = point.driver();
      feed(again, 12, () => 2);
      await again.deliver();
      await stop(point);
      await demandAll(12);
    }
  });

  it('marks a boot that has ended, and seals it when nobody is connected', async () => {
    const point = await start({ limits: { idleMs: 50 } });
    const driver = point.driver();
    feed(driver, 8);
    await driver.deliver();
    await pollUntil(() => point.closed[0], { label: 'the idle boot', timeoutMs: 5000 });
    expect(await driver.end()).to.equal(true);
    expect(point.closed).to.deep.equal([
      { machine: 'm', isEnded: false },
      { machine: 'm', isEnded: true },
    ]);
    await demandAll(8);
  });

  it('says that a record is closed only when that is so, and hears the end once more', async () => {
    const point = await start();
    const driver = point.driver();
    feed(driver, 8);
    await driver.deliver();
    point.isFull = true;
    expect(await driver.end()).to.equal(false);
    point.isFull = false;
    expect(await driver.end()).to.equal(true);
    // Nor does a server that stops say so to a machine whose end it has not heard.
    const ending = point.driver('m', undefined, 2n);
    feed(ending, 8);
    await ending.deliver();
    const connection = await SimConnection.open(ending.options);
    await stop(point);
    expect([await connection.closed, connection.isClosed]).to.deep.equal([undefined, false]);
  });

  it('takes no end for one that says of more than is there', async () => {
    const point = await start({ limits: { idleMs: 50 } });
    const driver = point.driver();
    feed(driver, 8);
    await driver.deliver();
    const connection = await SimConnection.open(driver.options);
    const more = [...connection.ready].map(([cpu, next]) => [cpu, next + (cpu === 2 ? 1n : 0n)] as const);
    await connection.send(FRAME.END, packEnds(more.map(([cpu, next]) => [cpu, { next, all: next }])));
    expect(await connection.closed).to.equal('BAD_FRAME');
    await pollUntil(() => point.closed[0], { label: 'the boot', timeoutMs: 5000 });
    expect(point.closed).to.deep.equal([{ machine: 'm', isEnded: false }]);
  });

  it('says that a boot was closed to whoever sends more of it, and that it is in trouble when it is', async () => {
    let trouble: Error | undefined;
    const point = await start({
      onOpen: (store) => {
        if (trouble !== undefined) throw trouble;
        store.isEnded = true;
      },
    });
    const connection = await SimConnection.open(point.driver().options);
    const ended = connection.closed;
    await connection.write(Buffer.concat(frame(FRAME.SUBBUF, subbuf([nop(1n)], { cpu: 0, bootId: SIM_BOOT }))));
    expect(await ended).to.match(/ENDED/);
    const refusalFor = async (error: Error, bootId: bigint) => {
      trouble = error;
      const refused: unknown = await SimConnection.open({ ...point.driver().options, bootId }).catch((e: unknown) => e);
      return refused instanceof WireRefused ? refused.status : refused;
    };
    expect(await refusalFor(new Error('no key'), 2n)).to.equal('FAILED');
    expect(await refusalFor(new LabError('LAB_ENV_DISK_FULL', 'full'), 3n)).to.equal('DISK_FULL');
    expect(Object.fromEntries(point.server.refusals)).to.deep.equal({ ENDED: 1, FAILED: 1, DISK_FULL: 1 });
  });

  it('lets half-open and silent openings go, and an honest driver past them', async () => {
    const point = await start({ limits: { openings: 20, openingsOfAddress: 10, openingMs: 400 } });
    const silent = Array.from({ length: 60 }, () => connect(point.server.port, '127.0.0.1'));
    const closes = silent.map((socket) => {
      socket.on('error', () => {});
      return once(socket, 'close');
    });
    const driver = point.driver();
    feed(driver, 40);
    await driver.deliver();
    expect(point.server.openings).to.be.at.most(10);
    await Promise.all(closes);
    await stop(point);
    await demandAll(40);
  });

  it('takes a machine that is silent for gone when its limit is over, and not before', async () => {
    for (const [silenceMs, isGone] of [
      [100, true],
      [60_000, false],
    ] as const) {
      const point = await start({ limits: { silenceMs } });
      const one = await SimConnection.open(point.driver('m').options);
      const ended = once(one.socket, 'close').then(() => true);
      one.socket.resume();
      const isClosed = await Promise.race([ended, sleep(1200, false)]);
      expect(isClosed, `${silenceMs} ms`).to.equal(isGone);
      one.socket.destroy();
      await stop(point);
    }
  });

  it('tells who comes when there are too many that it is busy', async () => {
    const point = await start({ limits: { sessions: 1 } });
    const one = await SimConnection.open(point.driver('m').options);
    const error: unknown = await SimConnection.open(point.driver('m2').options).catch((e: unknown) => e);
    expect(error).to.include({ status: 'BUSY' });
    one.socket.destroy();
  });
});

// SPDX-License-Identifier: MIT
/** What is acknowledged is on the disk: the syncs of a server are held, and no acknowledgement may come before them. */
import { cp, readdir, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { FRAME, MODE, type Streams, WIRE_SIZE } from '../../lab/link/wire.js';
import { bootDir, enrollMachine, makePoint } from '../../lab/server/point.js';
import { serve } from '../../lab/server/serve.js';
import {
  parseSegmentFooter,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from '../../lab/trace/segment-format.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { Random } from '../fuzz/random.js';
import { SimConnection } from '../support/sim-driver.js';
import { info, nop, subbuf } from '../support/trace-builder.js';
import { WatchedSyncs } from '../support/watched-syncs.js';
import { SIM_BOOT, startPoint, testFolder, testIntake } from '../support/wire-point.js';

const KEY = Buffer.alloc(32, 5);
const WAIT_MS = 10_000;
/** A frame of the server that says nothing of sub-buffers. */
const HEARTBEAT_BYTES = WIRE_SIZE.lemona_wire_frame + WIRE_SIZE.lemona_wire_status;

/** A connection of one stream, and what of it was acknowledged. */
class Sender {
  readonly acks: bigint[] = [];
  readonly connection: SimConnection;
  #next = 0n;

  constructor(connection: SimConnection) {
    this.connection = connection;
    connection.onAck = (streams) => this.acks.push(streams.get(0) ?? 0n);
  }

  /** Sends so many, which end there; the server has them in that file, and knows it. */
  async send(count: number, file: string, end: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.connection.send(FRAME.SUBBUF, small(this.#next++));
    const isThere = async () => (await stat(file).catch(() => undefined))?.size === end || undefined;
    await pollUntil(isThere, { label: `byte ${end} of ${file}`, timeoutMs: WAIT_MS });
    await this.heartbeats();
  }

  /** Whatever the server has said until now was heard: it says it in turn with its heartbeats. */
  async heartbeats(): Promise<void> {
    const { socket } = this.connection;
    // The first one may be under way already.
    const wanted = socket.bytesRead + 2 * HEARTBEAT_BYTES;
    await pollUntil(() => socket.bytesRead >= wanted || undefined, { label: 'heartbeats', timeoutMs: WAIT_MS });
  }

  async acknowledged(times: number): Promise<void> {
    await pollUntil(() => this.acks.length >= times || undefined, { label: 'an acknowledgement', timeoutMs: WAIT_MS });
  }
}

/** All are of the same size. */
function small(number: bigint): Buffer {
  return subbuf([nop(number + 1n)], { number });
}

const BYTES = small(0n).length;

describe('a sub-buffer that is acknowledged', function () {
  this.timeout(60_000);
  let folder: string;
  let syncs: WatchedSyncs;

  before(async () => {
    await testIntake();
  });

  beforeEach(async () => {
    folder = await testFolder();
    syncs = await WatchedSyncs.begin(folder);
  });

  afterEach(async () => {
    syncs.end();
    await rm(folder, { recursive: true });
  });

  it("was synced before, and its segment's name; what came during a sync waits for the next one", async () => {
    const point = await makePoint(path.join(folder, 'point'));
    await enrollMachine(point, 'web1', KEY, 'plain', new Date());
    const stop = new AbortController();
    let tell: (port: number) => void = () => {};
    const listening = new Promise<number>((resolve) => {
      tell = resolve;
    });
    const served = serve({
      ...{
        dir: point.dir,
        mayMake: false,
        dataDir: path.join(folder, 'data'),
        host: '127.0.0.1',
        port: 0,
        intake: await testIntake(),
      },
      ...{ signal: stop.signal, now: () => new Date() },
      write: (line) => {
        const { event, port } = JSON.parse(line) as { event: string; port: number };
        if (event === 'listening') tell(port);
      },
    });
    try {
      const options = { machine: 'web1', key: KEY, mode: MODE.PLAIN, bootId: SIM_BOOT, cpus: 1 };
      const sender = new Sender(await SimConnection.open({ ...options, port: await listening }));
      const segments = path.join(bootDir(point, { machine: 'web1', bootId: SIM_BOOT }), 'segments');
      const file = path.join(segments, segmentName(0));
      syncs.holds = (name) => name.startsWith(segments);
      await sender.send(1, file, SEGMENT_HEADER_BYTES + BYTES);
      const name = await syncs.next("a sync of the segment's name");
      expect([name.path, sender.acks]).to.deep.equal([segments, []]);
      await name.release();
      const first = await syncs.next('a sync of the segment');
      await sender.send(3, file, SEGMENT_HEADER_BYTES + 4 * BYTES);
      expect([first.path, first.bytes, sender.acks]).to.deep.equal([file, SEGMENT_HEADER_BYTES + BYTES, []]);
      await first.release();
      const second = await syncs.next('a sync of what came meanwhile');
      await sender.heartbeats();
      expect([second.path, sender.acks]).to.deep.equal([file, [1n]]);
      await second.release();
      await sender.acknowledged(2);
      expect(sender.acks).to.deep.equal([1n, 4n]);
      sender.connection.socket.destroy();
    } finally {
      syncs.end();
      stop.abort();
      await served;
    }
  });

  it('was synced before, where it is the last of a segment that is sealed behind it', async () => {
    const segmentBytes = SEGMENT_HEADER_BYTES + 2 * BYTES;
    const point = await startPoint(folder, { key: KEY, segmentBytes });
    try {
      const sender = new Sender(await SimConnection.open(point.driver('m', MODE.PLAIN).options));
      const kept = path.join(folder, `m-${SIM_BOOT.toString(16)}`);
      const [file, next] = [path.join(kept, segmentName(0)), path.join(kept, segmentName(1))];
      syncs.holds = (name) => name.startsWith(kept);
      await sender.send(1, file, SEGMENT_HEADER_BYTES + BYTES);
      await (await syncs.next("a sync of the segment's name")).release();
      const first = await syncs.next('a sync of the segment');
      // The second one of it waits for a sync, and there is no room for the third.
      await sender.send(2, next, SEGMENT_HEADER_BYTES + BYTES);
      await first.release();
      // The sync under way goes on with the segment that has begun meanwhile.
      for (const [what, wanted, bytes, acks] of [
        ["the next segment's name", kept, 0, []],
        ['the next segment', next, SEGMENT_HEADER_BYTES + BYTES, []],
        ['the sealed segment', file, segmentBytes + SEGMENT_FOOTER_BYTES, [1n]],
      ] as const) {
        const sync = await syncs.next(`a sync of ${what}`);
        await sender.heartbeats();
        expect([sync.path, sync.bytes, sender.acks], what).to.deep.equal([wanted, bytes, acks]);
        await sync.release();
      }
      await sender.acknowledged(2);
      expect(sender.acks).to.deep.equal([1n, 3n]);
      sender.connection.socket.destroy();
    } finally {
      syncs.end();
      await point.server.close();
    }
  });

  it('is within what was synced at that moment, over many segments', async () => {
    const point = await startPoint(folder, { key: KEY, segmentBytes: 30_000 });
    const random = new Random(7);
    syncs.laterMs = () => random.below(20);
    const driver = point.driver();
    for (let i = 0; i < 300; i++) {
      const [cpu, number] = [i % 4, BigInt(Math.floor(i / 4))];
      driver.put(
        cpu,
        number,
        subbuf([info('x'.repeat((i * 97) % 3000))], { cpu, number, issued: number + 1n, bootId: SIM_BOOT }),
      );
    }
    const acks: { readonly streams: Streams; readonly bytes: Map<string, number>; readonly names: Set<string> }[] = [];
    const note = (streams: Streams) => acks.push({ streams, bytes: new Map(syncs.bytes), names: new Set(syncs.names) });
    const deliver = driver.deliver((connection) => {
      const { onAck } = connection;
      note(connection.ready);
      connection.onAck = (streams) => {
        note(streams);
        onAck(streams);
      };
      // Some are acknowledged by READY of the next connection.
      if (driver.connects < 4) setTimeout(() => connection.socket.destroy(), 60);
    });
    await deliver.finally(() => point.server.close());
    const kept = path.join(folder, `m-${SIM_BOOT.toString(16)}`);
    let segments = 0;
    let held = 0;
    for await (const item of readSegments(kept)) {
      if (item.type === 'problem') throw new Error(item.detail);
      segments = item.segment + 1;
      const file = path.join(kept, segmentName(item.segment));
      const { cpu, number } = item.header;
      for (const { streams, bytes, names } of acks) {
        if (number >= (streams.get(cpu) ?? 0n)) continue;
        const end = item.offset + item.bytes.length;
        const what = `number ${number} of CPU ${cpu}, at ${item.offset} of ${file}`;
        expect(bytes.get(file) ?? 0, what).to.be.at.least(end);
        expect(names.has(file), what).to.equal(true);
        held++;
      }
    }
    expect([segments > 10, held >= 300]).to.deep.equal([true, true]);
  });

  it('after a kill too: READY tells of what is in the last segments when they are synced', async () => {
    const point = await startPoint(folder, { key: KEY, segmentBytes: 1000 });
    try {
      const driver = point.driver();
      for (let number = 0n; number < 30n; number++) driver.put(0, number, small(number));
      await driver.deliver();
      // As a kill leaves it.
      const left = path.join(folder, `m2-${SIM_BOOT.toString(16)}`);
      await cp(path.join(folder, `m-${SIM_BOOT.toString(16)}`), left, { recursive: true });
      const files = (await readdir(left)).sort().map((name) => path.join(left, name));
      const seal = (await readFile(files.at(-1) ?? '')).subarray(-SEGMENT_FOOTER_BYTES);
      expect([files.length > 3, parseSegmentFooter(seal)]).to.deep.equal([true, undefined]);
      syncs.holds = (name) => name.startsWith(left);
      let isReady = false;
      const opened = SimConnection.open(point.driver('m2').options).then((connection) => {
        isReady = true;
        return connection;
      });
      const seen: string[] = [];
      for (const what of ['the last sealed segment', 'the open segment', 'their names']) {
        const sync = await syncs.next(`a sync of ${what}`);
        // Whoever came later is served meanwhile.
        (await SimConnection.open(point.driver('m3').options)).socket.destroy();
        expect(isReady, what).to.equal(false);
        seen.push(sync.path);
        await sync.release();
      }
      const connection = await opened;
      expect(seen).to.deep.equal([...files.slice(-2), left]);
      expect(connection.ready.get(0)).to.equal(30n);
      connection.socket.destroy();
    } finally {
      syncs.end();
      await point.server.close();
    }
  });
});

// SPDX-License-Identifier: MIT
/** A real driver and several servers: mirrored, one of them killed on the way; and shared by CPU. */
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { type MergeReport, mergeRuns } from '../../lab/run/merge.js';
import { listenForGuest, MACHINE } from '../../lab/run/socket-receiver.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { freePort } from '../../lab/util/free-port.js';
import { accountOf, describeVerdict, useBench } from '../harness/boot.js';
import { FaultyLink } from '../harness/faulty-link.js';
import { holdersOf } from '../harness/holders.js';
import { bootOf } from '../harness/server-receiver.js';
import { ask, loadFolder, useStore } from '../harness/store.js';
import { ServerProcess } from '../support/server-process.js';

/** Work of two processes. */
const WORK = `
work() { mkdir /root/$1; for i in 1 2 3 4 5 6 7 8 9; do echo $1 $i > /root/$1/$i; mv /root/$1/$i /root/$1/n$i; done; }
work a & work b; wait`;

/** The text itself is in no script. */
const LITTLE_PRODUCT = '123457 * 654321';
const LITTLE = `little ${123_457 * 654_321}`;

const COUNTS = `SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM effects), (SELECT count(*) FROM processes),
 (SELECT count(*) FROM paths), (SELECT count(*) FROM texts), (SELECT count(*) FROM problems)`;

describe('several servers', () => {
  const bench = useBench();
  const store = useStore();
  let second: ServerProcess;

  afterEach(async () => {
    await second.kill();
  });

  /** The second server, and the key that the first one is to have too. */
  async function enrollSecond(): Promise<Buffer> {
    second = new ServerProcess(path.join(bench().folder, 'second'), await freePort());
    return ServerProcess.enroll(second.dir, [MACHINE], 'noise');
  }

  async function startSecond(): Promise<Buffer> {
    const key = await enrollSecond();
    await second.start();
    return key;
  }

  async function merge(sources: readonly string[], copies: number): Promise<MergeReport> {
    const options = { runDir: bench().runDir('m'), force: false, copies };
    return mergeRuns(
      { ...options, sources: sources.map((dir) => ({ dir, isProven: true, head: null, lab: null })) },
      bench().ctx,
    );
  }

  const isIntact = async (dir: string) => {
    const { findings, isClosed } = await auditRun(dir);
    return [findings, isClosed];
  };

  it('each have all of it, also one that is killed on the way, and merge proves it', async () => {
    const key = await startSecond();
    const stdin = new PassThrough();
    let killed: Promise<void> | undefined;
    const { manifest } = await bench().record('r', `${WORK}; read go; mkdir /root/later; echo 1 > /root/later/file`, {
      config: 'static-socket-encrypted',
      stdin,
      listenForGuest: (options) => listenForGuest({ ...options, key }),
      moreServers: [second.port],
      onMachine: () => {
        killed = (async () => {
          const options = {
            label: 'the first of the record at the second server',
            timeoutMs: 300_000,
            intervalMs: 100,
          };
          await pollUntil(() => bootOf(second), options);
          await second.kill();
          await second.start();
          stdin.end('go\n');
        })();
      },
    });
    await killed;
    expect(manifest.state).to.equal('complete');
    await second.stop();
    const run = bench().runDir('r');
    const mirror = (await bootOf(second)) ?? '';
    for (const dir of [run, mirror]) expect(await isIntact(dir), dir).to.deep.equal([[], true]);
    const { copies, missing, tooFew, disagreements, again } = await merge([run, mirror], 2);
    expect([missing, tooFew, disagreements, again]).to.deep.equal([[], [], [], 0]);
    expect(Object.keys(copies)).to.deep.equal(['2']);
    const result = await bench().verify('m');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
    // What the inserter makes of the server's folder is what it makes of the run.
    const [ofRun, ofServer] = [path.join(store(), 'run.db'), path.join(store(), 'server.db')];
    await loadFolder(run, ofRun);
    await loadFolder(second.dir, ofServer);
    expect(await ask(ofServer, COUNTS)).to.deep.equal(await ask(ofRun, COUNTS));
  });

  it('have all sealed it before the machine is switched off, also one that hears of it late', async () => {
    const key = await startSecond();
    const link = await FaultyLink.listen(() => second.port);
    try {
      // Longer than a machine that has said all takes to be off, and its run to be complete.
      link.lateEndMs = 10_000;
      await bench().record('r', WORK, {
        ...{ config: 'static-socket-encrypted', moreServers: [link.port] },
        listenForGuest: (options) => listenForGuest({ ...options, key }),
      });
    } finally {
      link.close();
    }
    expect(second.log.map((line) => line.event)).to.include('sealed');
    await second.stop();
    const mirror = (await bootOf(second)) ?? '';
    expect(await isIntact(mirror), mirror).to.deep.equal([[], true]);
  });

  it('have what little there is at once, also while another one is away', async () => {
    const key = await enrollSecond();
    const [stdin, stderr] = [new PassThrough(), new PassThrough()];
    const segments = path.join(bench().runDir('r'), 'segments');
    const come = async () => {
      try {
        await pollUntil(async () => ((await holdersOf(segments, [LITTLE])).length > 0 ? true : undefined), {
          label: 'a small record at the first server',
          timeoutMs: 10_000,
          intervalMs: 100,
        });
      } finally {
        await second.start();
        stdin.end('go\n');
      }
    };
    let little: Promise<void> | undefined;
    stderr.once('data', () => {
      little = come();
      little.catch(() => {});
    });
    const { manifest, output } = await bench().record(
      'r',
      `until dmesg | grep -q 7021:.connected; do sleep 0.1; done
       echo little $((${LITTLE_PRODUCT})) > /root/little; echo stored >&2; read go`,
      {
        ...{ config: 'static-socket-encrypted', stdin, stderr, moreServers: [second.port] },
        // No sub-buffer becomes full by what is done, and a pool is not soon full of half-full ones.
        kernelArgs: ['lemona.pool_mb=64', 'lemona.subbuf_kb=96', 'lemona.flush_ms=200'],
        listenForGuest: (options) => listenForGuest({ ...options, key }),
      },
    );
    expect(little, output).to.not.equal(undefined);
    await little;
    expect(manifest.state).to.equal('complete');
    await second.stop();
    for (const dir of [bench().runDir('r'), (await bootOf(second)) ?? ''])
      expect(await isIntact(dir), dir).to.deep.equal([[], true]);
  });

  it('share it by CPU, with as many copies as they are told', async () => {
    const key = await startSecond();
    await bench().record('r', WORK, {
      config: 'static-socket-encrypted',
      smp: 2,
      kernelArgs: ['lemona.copies=1'],
      listenForGuest: (options) => listenForGuest({ ...options, key }),
      moreServers: [second.port],
    });
    await second.stop();
    const run = bench().runDir('r');
    const other = (await bootOf(second)) ?? '';
    expect((await accountOf(run)).isComplete).to.equal(false);
    const { sources, copies, missing, tooFew, disagreements } = await merge([run, other], 1);
    expect(sources.map(({ cpus }) => cpus)).to.deep.equal([[0], [1]]);
    expect([missing, tooFew, disagreements]).to.deep.equal([[], [], []]);
    expect(Object.keys(copies)).to.deep.equal(['1']);
    expect((await accountOf(bench().runDir('m'))).isComplete).to.equal(true);
    const result = await bench().verify('m');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
  });
});

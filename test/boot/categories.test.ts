// SPDX-License-Identifier: MIT
/** A real driver whose servers have the record of one category each. */
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { buildKernel } from '../../guest-kernel/build.js';
import { auditRun } from '../../lab/audit/audit.js';
import { openRun } from '../../lab/run/folder.js';
import { mergeRuns } from '../../lab/run/merge.js';
import { listenForGuest, MACHINE } from '../../lab/run/socket-receiver.js';
import { partOf } from '../../lab/trace/parts.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { freePort } from '../../lab/util/free-port.js';
import { serverAddress } from '../../lab/vm/qemu-args.js';
import { accountOf, describeVerdict, useBench } from '../harness/boot.js';
import { bootWithModule } from '../harness/guest.js';
import { holdersOf } from '../harness/holders.js';
import { problemsOf } from '../harness/problems.js';
import { guestProgram } from '../harness/program.js';
import { bootOf } from '../harness/server-receiver.js';
import { ask, loadFolder, useStore } from '../harness/store.js';
import { collect } from '../support/run-builder.js';
import { ServerProcess } from '../support/server-process.js';

const WORDS = 'what was said to nobody else';
const TEXT = 'what was written down';
const LAST_WORDS = 'what was said before the end';
const LAST_TEXT = 'what was written before the end';
const WORK = `
cd /root; ip link set lo up 2> /dev/null || ifconfig lo up; chmod +x talk
./talk '${WORDS}' '${TEXT}'
for i in 1 2 3 4 5 6 7 8 9; do echo $i > $i; mv $i n$i; done`;
/** The run's own server has the disk, the other one the network. */
const SPLIT = `lemona.server=${serverAddress(0)}/disk,${serverAddress(1)}/network`;

describe('servers of one category each', () => {
  const bench = useBench();
  const store = useStore();
  let second: ServerProcess | undefined;

  afterEach(() => second?.kill());

  async function record(config: string) {
    const { folder } = bench();
    const network = new ServerProcess(path.join(folder, 'second'), await freePort());
    second = network;
    const key = await ServerProcess.enroll(network.dir, [MACHINE], config.endsWith('plain') ? 'plain' : 'noise');
    await network.start();
    const result = await bench().record('r', WORK, {
      ...{ config, smp: 2, kernelArgs: [SPLIT], moreServers: [network.port] },
      copyIn: [{ source: await guestProgram('talk', folder), destination: '/root/talk' }],
      listenForGuest: (options) => listenForGuest({ ...options, key }),
    });
    await network.stop();
    return { ...result, run: bench().runDir('r'), other: (await bootOf(network)) ?? '' };
  }

  /** Sub-buffers by CPU and number. */
  async function subbufsIn(folder: string): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>();
    for await (const item of readSegments(folder)) {
      expect(item.type).to.equal('subbuf');
      if (item.type === 'subbuf') found.set(`${item.header.cpu}:${item.header.number}`, Buffer.from(item.bytes));
    }
    return found;
  }

  it('get the parts of what the relay delivers, to the byte', async () => {
    const { manifest, output, run, other } = await record('static-relay-socket-encrypted');
    expect([manifest.state, manifest.exitStatus, problemsOf(manifest)], output).to.deep.equal(['complete', 0, []]);
    const wholes = await subbufsIn(path.join(run, 'segments'));
    for (const [folder, category] of [
      [path.join(run, 'segments-socket'), 'disk'],
      [path.join(other, 'segments'), 'network'],
    ] as const) {
      const parts = await subbufsIn(folder);
      expect(parts.size).to.be.above(2);
      for (const [key, part] of parts) {
        expect(part.equals(partOf(wholes.get(key) ?? Buffer.alloc(0), category)), `${category} ${key}`).to.equal(true);
      }
    }
    expect(await holdersOf(path.join(other, 'segments'), [TEXT])).to.deep.equal([]);
    expect(await holdersOf(path.join(other, 'segments'), [WORDS])).to.have.length(1);
  });

  it('are refused where a record would have a hole', async () => {
    const { folder, ctx } = bench();
    const guest = await bootWithModule(folder, await buildKernel('m', ctx), ctx);
    try {
      const [one, other] = ['192.0.2.7:4270', '192.0.2.8:4270'];
      for (const [server, more, said] of [
        [`${one}/disk`, 'relay=0', /servers of one category only/],
        [`${one}/network,${other}/disk`, 'copies=1', /copies= spreads by CPU/],
        [`${one}/network,${other}/disk`, 'subbuf_kb=820', /at most 816/],
        [`${one}/tape,${other}`, '', /192\.0\.2\.7:4270\/tape: not IP:PORT, perhaps with/],
      ] as const) {
        const load = `dmesg -c > /dev/null; insmod /root/lemona.ko machine=m server=${server} ${more}`;
        const { output } = await guest.run(`${load} 2>&1 || echo refused; dmesg`);
        expect(output).to.match(/^refused$/m);
        expect(output).to.match(said);
      }
      const { output } = await guest.run(
        `insmod /root/lemona.ko machine=m server=${one}/disk && rmmod lemona && echo done`,
      );
      expect(output).to.match(/^done$/m);
    } finally {
      await guest.machine.quit();
    }
  });

  for (const [own, others] of [
    ['disk', 'network'],
    ['network', 'disk'],
  ] as const) {
    it(`lose nothing of a guest that crashes while that of the ${others} is away: its memory has the whole`, async () => {
      const { folder, ctx } = bench();
      const other = new ServerProcess(path.join(folder, 'second'), await freePort());
      second = other;
      const key = await ServerProcess.enroll(other.dir, [MACHINE], 'noise');
      await other.start();
      const stdin = new PassThrough();
      let killed: Promise<void> | undefined;
      const work = `${WORK}; read go; ./talk '${LAST_WORDS}' '${LAST_TEXT}'; sleep 1; echo c > /proc/sysrq-trigger`;
      const error = await bench()
        .record('r', work, {
          ...{ config: 'static-socket-encrypted', smp: 2, moreServers: [other.port], stdin },
          kernelArgs: [`lemona.server=${serverAddress(0)}/${own},${serverAddress(1)}/${others}`],
          copyIn: [{ source: await guestProgram('talk', folder), destination: '/root/talk' }],
          listenForGuest: (options) => listenForGuest({ ...options, key }),
          onMachine: () => {
            killed = (async () => {
              const label = 'the first of the record at the other server';
              const begun = async () => {
                const dir = await bootOf(other);
                const items =
                  dir === undefined ? [] : await collect(readSegments(path.join(dir, 'segments'))).catch(() => []);
                return items.some(({ type }) => type === 'subbuf') ? true : undefined;
              };
              await pollUntil(begun, { label, timeoutMs: 300_000, intervalMs: 100 });
              await other.kill();
              stdin.end('go\n');
            })();
          },
        })
        .catch((thrown: unknown) => thrown);
      await killed;
      expect(error).to.include({ code: 'LAB_GUEST_PANIC' });
      const run = bench().runDir('r');
      const { manifest } = await openRun(run);
      expect(manifest.problems.join('\n')).to.match(/[1-9]\d* sub-buffers \(\d+ bytes\) of which .* were there whole/);
      expect((await auditRun(run)).findings).to.deep.equal([]);
      const sources = [run, (await bootOf(other)) ?? ''].map((dir) => ({ dir, isProven: true, head: null, lab: null }));
      const report = await mergeRuns({ sources, runDir: bench().runDir('m'), force: false, copies: 1 }, ctx);
      expect([report.missing, report.parts, report.disagreements, report.tooFew]).to.deep.equal([[], [], [], []]);
      expect(report.isOpen).to.equal(true);
      const { gaps, missing, elsewhere } = await accountOf(bench().runDir('m'));
      expect([gaps, missing, elsewhere]).to.deep.equal([[], 0n, 0n]);
      // Neither server had both.
      const segments = path.join(bench().runDir('m'), 'segments');
      for (const words of [WORDS, TEXT, LAST_WORDS, LAST_TEXT])
        expect(await holdersOf(segments, [words]), words).to.have.length.of.at.least(1);
    });
  }

  it('have a record together that is complete, and a disk that the one alone can rebuild', async () => {
    const { manifest, output, run, other } = await record('module-socket-plain');
    expect([manifest.state, manifest.exitStatus], output).to.deep.equal(['complete', 0]);
    for (const dir of [run, other]) {
      const { isComplete, elsewhere, missing } = await accountOf(dir);
      expect([isComplete, elsewhere > 0n, missing]).to.deep.equal([false, true, 0n]);
    }
    const alone = await bench().verify('r');
    expect(describeVerdict(alone)).to.equal('');
    expect(alone.isEqual).to.equal(true);
    const sources = [run, other].map((dir) => ({ dir, isProven: true, head: null, lab: null }));
    const options = { sources, runDir: bench().runDir('m'), force: false, copies: 1 };
    const { copies, parts, missing, disagreements } = await mergeRuns(options, bench().ctx);
    expect([Object.keys(copies), parts, missing, disagreements]).to.deep.equal([['1'], [], [], []]);
    expect((await accountOf(bench().runDir('m'))).isComplete).to.equal(true);
    const result = await bench().verify('m');
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
    // Each can be asked alone: who talked to whom at the one, who wrote what at the other, who ran at both.
    const known = `SELECT 'sockets' FROM sockets UNION SELECT 'effects' FROM effects
      UNION SELECT 'talk' FROM processes WHERE name = 'talk' ORDER BY 1`;
    const knownIn = async (dir: string) => {
      const file = path.join(store(), `${path.basename(dir)}.db`);
      await loadFolder(dir, file);
      return ask(file, known);
    };
    expect(await knownIn(other)).to.deep.equal(['sockets', 'talk']);
    expect(await knownIn(run)).to.deep.equal(['effects', 'talk']);
  });
});

// SPDX-License-Identifier: MIT
import { once } from 'node:events';
import { mkdir, open, rm } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { MACHINE } from '../../lab/run/socket-receiver.js';
import { freePort } from '../../lab/util/free-port.js';
import { accountOf, testSeed, useBench } from '../harness/boot.js';
import { FaultyLink } from '../harness/faulty-link.js';
import { bootOf, receiverOf } from '../harness/server-receiver.js';
import { sh } from '../harness/sh.js';
import { demandOnce, demandWhole } from '../harness/whole.js';
import { ServerProcess } from '../support/server-process.js';

/** LEMONA_FAULTS asks for fewer. */
const FAULTS = Number(process.env.LEMONA_FAULTS ?? 200);
/** Of the server's disk: room for the record of an hour. */
const DISK_MIB = 512;

/** Works until a line comes, at the file system and with many calls. What runs in the background would not see the line. */
const scriptOf = (fileKib: number) => `
echo working >&2; mkdir /root/w; cd /root/w
( i=0
while [ ! -e /root/stop ]; do
  dd if=/dev/urandom of=f$((i % 20)) bs=4k count=${fileKib / 4} 2>/dev/null
  mv f$((i % 20)) g$((i % 7)); ln -f g$((i % 7)) h$((i % 5)); : > e$((i % 50)); rm -f e$(((i + 25) % 50))
  i=$((i + 1)); sleep 0.05
done
echo "$i rounds" ) &
read line; touch /root/stop; wait`;

/** A small generator: the same faults for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Takes all space of the disk for a while. */
async function fillDisk(folder: string, ms: number): Promise<void> {
  const file = path.join(folder, 'filler');
  const handle = await open(file, 'w');
  const block = Buffer.alloc(1024 * 1024);
  try {
    for (;;) await handle.write(block);
  } catch {
    // Full: that is what was wanted.
  } finally {
    await handle.close();
  }
  await sleep(ms);
  await rm(file);
}

describe('a record over a link that fails', () => {
  const bench = useBench();

  for (const mode of ['plain', 'encrypted'] as const) {
    for (const isLossy of [false, true]) {
      // What is lossy writes more than its pool of 1 MiB holds while the server is away.
      const fileKib = isLossy ? 512 : 16;
      const faults = isLossy ? Math.ceil(FAULTS / 10) : FAULTS;
      const promise = isLossy ? 'every loss is declared' : 'nothing is lost and nothing doubled';
      it(`${mode}, ${isLossy ? 'lossy' : 'lossless'}, ${faults} random faults: ${promise}`, async function () {
        this.timeout(3_600_000);
        const random = randomOf(testSeed());
        const { folder } = bench();
        const disk = path.join(folder, 'disk');
        await mkdir(disk);
        await sh`mount -t tmpfs -o size=${DISK_MIB}m tmpfs ${disk}`;
        const server = new ServerProcess(path.join(disk, 'point'), await freePort());
        const key = await ServerProcess.enroll(server.dir, [MACHINE], mode === 'plain' ? 'plain' : 'noise');
        await server.start();
        const link = await FaultyLink.listen(() => server.port);
        const stdin = new PassThrough();
        const stderr = new PassThrough();
        const done = new Map<string, number>();
        const kinds: Record<string, () => Promise<void>> = {
          cut: async () => link.cut(),
          stall: async () => {
            link.stall(true);
            await sleep(random() * 2000);
            link.stall(false);
          },
          kill: async () => {
            await server.kill();
            await server.start();
          },
          full: () => fillDisk(disk, random() * 2000),
          // Who alters plain traffic can forge it: nothing is promised there.
          ...(mode === 'plain' ? {} : { alter: async () => link.alter() }),
        };
        const weights = ['cut', 'cut', 'cut', 'stall', 'stall', 'kill', 'full', ...(mode === 'plain' ? [] : ['alter'])];
        const harm = async () => {
          // Before that there is little to lose.
          if (isLossy) await once(stderr, 'data');
          for (let n = 0; n < faults; n++) {
            await sleep(100 + random() * 900);
            const name = weights[Math.floor(random() * weights.length)] ?? 'cut';
            await kinds[name]?.();
            done.set(name, (done.get(name) ?? 0) + 1);
          }
          stdin.end('stop\n');
        };
        try {
          let harmed: Promise<void> | undefined;
          const { manifest, output } = await bench().record('r', scriptOf(fileKib), {
            config: `static-socket-${mode}`,
            stdin,
            stderr,
            kernelArgs: isLossy ? ['lemona.lossy=1', 'lemona.pool_mb=1'] : [],
            listenForGuest: ({ folder: segments }) => Promise.resolve(receiverOf(server, key, link, segments)),
            onMachine: () => {
              harmed = harm();
            },
          });
          await harmed;
          const told = [...done].map(([name, count]) => `${count} × ${name}`).join(', ');
          const { bytes, subbufs } = manifest.trace;
          const refusals = server.log.filter(({ event }) => event === 'refused').length;
          const account = await accountOf(bench().runDir('r'));
          process.stderr.write(
            `    ${told}; ${link.altered} bytes altered, ${refusals} refusals told by the server; ` +
              `${subbufs} sub-buffers, ${bytes} bytes, ${account.dropped} records lost; ${output.trim()}\n`,
          );
          const audit = await auditRun((await bootOf(server)) ?? '');
          expect([audit.findings, audit.isClosed]).to.deep.equal([[], true]);
          if (!isLossy) {
            await demandWhole(bench(), 'r');
            return;
          }
          await demandOnce(bench().runDir('r'));
          expect(account.missing).to.equal(0n);
          expect(account.isHonest).to.equal(true);
          expect(account.dropped > 0n, 'faults that cost nothing show nothing').to.equal(true);
        } finally {
          await server.kill();
          link.close();
          await sh`umount -l ${disk}`;
        }
      });
    }
  }
});

// SPDX-License-Identifier: MIT
/** A server that is away while a lossless guest has more to record than it can keep: whoever writes waits for it. */
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { WIRE_SILENCE_MS } from '../../lab/abi/wire.js';
import { auditRun } from '../../lab/audit/audit.js';
import { MACHINE } from '../../lab/run/socket-receiver.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { freePort } from '../../lab/util/free-port.js';
import type { Machine } from '../../lab/vm/machine.js';
import { useBench } from '../harness/boot.js';
import { FaultyLink } from '../harness/faulty-link.js';
import { guestProgram } from '../harness/program.js';
import { bootOf, receiverOf } from '../harness/server-receiver.js';
import { demandWhole } from '../harness/whole.js';
import { ServerProcess } from '../support/server-process.js';

const POOL_MIB = 1;
/** Of two processes; the record has it as well. */
const WRITTEN_MIB = 4;
const WORK = `
work() {
  mkdir /root/$1
  for i in 1 2 3 4 5 6 7 8; do
    dd if=/dev/urandom of=/root/$1/$i bs=64k count=${WRITTEN_MIB} 2> /dev/null; mv /root/$1/$i /root/$1/n$i
  done
}
work a & work b; wait`;

interface Absence {
  readonly config: string;
  readonly what: string;
  readonly ms: number;
  readonly begin: (server: ServerProcess, link: FaultyLink) => Promise<void>;
  readonly end: (server: ServerProcess, link: FaultyLink) => Promise<void>;
  /** What the driver says of it. */
  readonly says: RegExp;
}

const ABSENCES: readonly Absence[] = [
  {
    config: 'static-socket-plain',
    what: 'is killed',
    ms: 3_000,
    begin: (server) => server.kill(),
    end: (server) => server.start(),
    says: /lemona: server .*; will connect again/,
  },
  {
    config: 'static-socket-encrypted',
    what: 'says nothing for longer than it may',
    ms: WIRE_SILENCE_MS + 2_000,
    begin: async (_server, link) => link.stall(true),
    end: async (_server, link) => link.stall(false),
    says: /lemona: server .*: -(ETIMEDOUT|110); will connect again/,
  },
];

describe('a lossless guest whose server is away', () => {
  const bench = useBench();

  for (const { config, what, ms, begin, end, says } of ABSENCES) {
    it(`waits for one that ${what}, goes on with it, and loses nothing: ${config}`, async () => {
      const { folder } = bench();
      const server = new ServerProcess(path.join(folder, 'point'), await freePort());
      const key = await ServerProcess.enroll(server.dir, [MACHINE], config.endsWith('plain') ? 'plain' : 'noise');
      await server.start();
      const link = await FaultyLink.listen(() => server.port);
      const stdin = new PassThrough();
      const go = async (machine: Machine) => {
        let said = '';
        machine.console.onText((chunk) => {
          said += chunk.toString('latin1');
        });
        const heard = (words: string) =>
          pollUntil(() => said.includes(words) || undefined, {
            label: `'${words}' on the console`,
            timeoutMs: 300_000,
            lastSeen: () => said.slice(-1000),
          });
        await heard('throttled: ready');
        await begin(server, link);
        stdin.end('\n');
        await heard('throttled: waiting');
        await sleep(ms);
        await end(server, link);
      };
      try {
        let gone: Promise<void> | undefined;
        const { manifest, output } = await bench().record('r', `${WORK}; dmesg | grep 'lemona: server'`, {
          ...{ config, smp: 2, stdin, kernelArgs: [`lemona.pool_mb=${POOL_MIB}`] },
          command: ['sh', '-c', 'chmod +x /root/throttled; exec /root/throttled sh /root/test.sh'],
          copyIn: [{ source: await guestProgram('throttled', folder), destination: '/root/throttled' }],
          listenForGuest: ({ folder: segments }) => Promise.resolve(receiverOf(server, key, link, segments)),
          onMachine: (machine) => {
            gone = go(machine);
            gone.catch(() => stdin.end());
          },
        });
        await gone;
        expect([manifest.state, manifest.exitStatus], output).to.deep.equal(['complete', 0]);
        expect(output).to.match(says);
        const [, waits, waitedMs] = /(\d+) waits, (\d+) ms/.exec(output) ?? [];
        process.stderr.write(`    ${waits} waits, ${waitedMs} ms\n`);
        expect(Number(waits), output).to.be.above(0);
        expect(Number(waitedMs)).to.be.at.least(ms);
        const audit = await auditRun((await bootOf(server)) ?? '');
        expect([audit.findings, audit.isClosed]).to.deep.equal([[], true]);
        expect(manifest.trace.bytes).to.be.above(WRITTEN_MIB * 1024 * 1024);
        await demandWhole(bench(), 'r');
      } finally {
        await server.kill();
        link.close();
      }
    });
  }
});

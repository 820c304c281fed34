// SPDX-License-Identifier: MIT
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { syscallName } from '../../lab/abi/syscalls.js';
import { eventsOf } from '../../lab/trace/events.js';
import { describeUnvouched } from '../../replay/unvouched.js';
import { isNothingKnown } from '../../replay/verify.js';
import { accountOf, type Bench, describeVerdict, testSeed, useBench } from '../harness/boot.js';
import { withBusyHost } from '../harness/busy-host.js';
import { guestProgram } from '../harness/program.js';

/** Calls of each of the 16 flooding processes; the acceptance takes 1,000,000. */
const CALLS = Number(process.env.LEMONA_CALLS ?? 200_000);
/** As many as fit into a page, so that each is one effect; the flood goes on beside them. */
const MODEST_WRITES = 400;

/** A host that is quick enough takes all of the flood: this one is not. */
const HOST_BYTES_PER_S = 1024 * 1024;

/** Takes what comes at once, but for pauses in which the flood fills all there is. */
const PAUSE_MS = 250;
const BYTES_BETWEEN_PAUSES = 2 * 1024 * 1024;

/** Without a pool there are only three sub-buffers for each CPU, and two more. */
const BUFFERS = [
  { pool_mb: 0, subbuf_kb: 64 },
  { pool_mb: 1, subbuf_kb: 64 },
  { pool_mb: 4, subbuf_kb: 256 },
] as const;

/** What is recorded of the process that does not flood: it created `modest`. */
async function modestRecords(runDir: string): Promise<{ calls: number; effects: number }> {
  let tid: number | undefined;
  let calls = 0;
  let effects = 0;
  for await (const { record } of eventsOf(runDir, { kinds: new Set(['effect', 'entry']) })) {
    if (record.kind === 'effect' && record.effect.op === 'CREATE' && record.effect.name.toString() === 'modest') {
      tid = record.tid;
    } else if (record.tid === tid) {
      if (record.kind === 'entry' && syscallName(record.nr, record.abi) === 'write') calls++;
      if (record.kind === 'effect' && record.effect.op === 'WRITE') effects++;
    }
  }
  return { calls, effects };
}

const FLOOD = `/root/flood /root/f 16 ${CALLS} ${MODEST_WRITES}`;

/** Marks at instants that nobody planned, and a host that is too slow for what goes on meanwhile. */
const whileMarked = (command: string) => `
( n=0; while [ ! -e /run/stop ]; do lemona-mark m$n >/dev/null || exit 99; n=$((n + 1)); sleep 0.$((n % 5 + 3)); done ) &
${command}
status=$?
touch /run/stop
wait
exit $status
`;

/** Effects were lost for real; every mark's disk is right in all that the rebuild does not name. */
async function expectHonestRebuild(bench: Bench, about: string): Promise<void> {
  const account = await accountOf(bench.runDir('r'));
  expect(account.isHonest, about).to.equal(true);
  const result = await bench.verify('r');
  expect(describeVerdict(result), about).to.equal('');
  expect(
    result.replay.first.map((m) => `${m.op} ${m.seq}: ${m.what}`),
    about,
  ).to.deep.equal([]);
  expect(result.isEqual, about).to.equal(true);
  expect(result.marks.length, about).to.be.at.least(4);
  const end = result.marks.at(-1);
  expect(isNothingKnown(end?.unvouched ?? []), about).to.equal(false);
  expect(end?.unvouched.length, `${about}: paths that nothing is vouched for`).to.be.greaterThan(0);
  // What nobody touched is vouched for; whatever has lost its name lies in /lost+found.
  expect(end?.compared, about).to.be.greaterThan(300);
  expect(end?.unvouched.map(describeUnvouched).filter((line) => !/^\/(root|lost\+found)/.test(line))).to.deep.equal([]);
  process.stderr.write(
    `      ${about}: ${result.marks.length} marks, ${account.dropped} records lost, ${end?.unvouched.length} paths named,` +
      ` ${end?.compared} compared, ${end?.leftOut} left out\n`,
  );
}

describe('lossy mode under a flood', () => {
  const bench = useBench();

  const isSlow = (bytes: number) => sleep((bytes / HOST_BYTES_PER_S) * 1000);

  function pauses(): (bytes: number) => Promise<void> {
    let taken = 0;
    return async (bytes) => {
      taken += bytes;
      if (taken < BYTES_BETWEEN_PAUSES) return;
      taken = 0;
      await sleep(PAUSE_MS);
    };
  }

  /** Work of a guest's program on a host that is too slow for it. */
  async function record(
    name: string,
    work: string,
    { pool_mb, subbuf_kb }: { pool_mb: number; subbuf_kb: number },
    tracePace: (bytes: number) => Promise<void> = isSlow,
  ) {
    const { manifest, output } = await bench().record('r', `chmod +x /root/${name}; ${work}`, {
      smp: 2,
      copyIn: [{ source: await guestProgram(name, bench().folder), destination: `/root/${name}` }],
      kernelArgs: ['lemona.lossy=1', `lemona.pool_mb=${pool_mb}`, `lemona.subbuf_kb=${subbuf_kb}`],
      tracePace,
    });
    expect(manifest.exitStatus, output).to.equal(0);
  }

  async function expectModestWhole(): Promise<void> {
    const account = await accountOf(bench().runDir('r'));
    expect(account.missing).to.equal(0n);
    expect(account.isHonest).to.equal(true);
    expect(account.dropped > 0n, 'a flood that fits shows nothing').to.equal(true);
    expect(await modestRecords(bench().runDir('r'))).to.deep.equal({ calls: MODEST_WRITES, effects: MODEST_WRITES });
  }

  for (const { pool_mb, subbuf_kb } of BUFFERS) {
    const size = `${pool_mb} MiB in ${subbuf_kb} KiB`;
    it(`declares every loss, and a process that does not flood loses nothing: ${size}`, async () => {
      await withBusyHost(() => record('flood', `mkdir /root/f; ${FLOOD}`, { pool_mb, subbuf_kb }));
      await expectModestWhole();
    });
  }

  it('a process that does not flood loses nothing while the reader pauses', async () => {
    await record('flood', `mkdir /root/f; ${FLOOD}`, BUFFERS[0], pauses());
    await expectModestWhole();
  });

  for (const { pool_mb, subbuf_kb } of BUFFERS) {
    it(`a rebuild names what it is not sure of, and is right in the rest: ${pool_mb} MiB in ${subbuf_kb} KiB`, async () => {
      await record('flood', `mkdir /root/f${whileMarked(FLOOD)}`, { pool_mb, subbuf_kb });
      await expectHonestRebuild(bench(), `flood, ${pool_mb} MiB`);
    });
  }

  it('a rebuild is right in what it vouches for when effects of all kinds are lost', async () => {
    const seed = testSeed();
    await record('exerciser', whileMarked(`/root/exerciser /root/play 8 300 ${seed}`), { pool_mb: 0, subbuf_kb: 64 });
    await expectHonestRebuild(bench(), `LEMONA_SEED=${seed}`);
  });
});

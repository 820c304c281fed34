// SPDX-License-Identifier: MIT
/**
 * A journal whose disk fails takes nothing more in. What it took before is what the disk has for good, and is rebuilt;
 * what the record has beyond that is not on the disk, and the record says so.
 */
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { ext4Env } from '../../images/ext4.js';
import { replayVm } from '../../lab/parts/parts.js';
import { convertImage } from '../../lab/run/disk.js';
import { openRun } from '../../lab/run/folder.js';
import { eventsOf } from '../../lab/trace/events.js';
import { statsOf } from '../../lab/trace/stats.js';
import type { Machine } from '../../lab/vm/machine.js';
import { type ReconstructResult, reconstruct } from '../../replay/reconstruct.js';
import { verifyImages } from '../../replay/verify.js';
import { breakDisk, JOURNAL, sectorOf } from '../harness/bad-disk.js';
import { useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';
import { sh } from '../harness/sh.js';
import { taintsOf } from '../harness/taints.js';

/** The log comes to it after dozens of commits, and again whenever it has gone round. */
const BAD_BLOCK = 400;

/** The journal's own end, and that ext4 finds it aborted when somebody wants to change something. */
const ABORTED = 'the file system found an error in jbd2_journal_abort()';
const FOUND = 'the file system found an error in ext4_journal_check_start()';

interface Row {
  readonly what: string;
  readonly mountOptions?: string;
  /** Nothing more is asked of the file system: ext4 itself has not found out yet. */
  readonly isLast?: true;
}

const ROWS: readonly Row[] = [
  { what: 'mounted with errors=remount-ro', mountOptions: 'errors=remount-ro' },
  { what: 'mounted to go on after errors' },
  { what: 'with contents in the journal as well', mountOptions: 'data=journal' },
  { what: 'where the commit that failed is the last thing that happens', isLast: true },
];

const script = ({ isLast }: Row) => `chmod +x /root/files; mkdir /root/d; cd /root/d
echo before > before; lemona-mark before >/dev/null || exit 99
echo marked >&2
/root/files ${isLast === true ? 'journal-stop && exit 0' : 'journal-abort'} || exit 1
lemona-mark after >/dev/null 2>&1 && exit 2
exit 0
`;

/** The status of e2fsck that mended all it found. */
const MENDED = 1;

describe('a file system whose journal is aborted', () => {
  const bench = useBench();

  /** The guest's disk as the next mount would find it: what was committed, and nothing else. */
  async function recoveredDisk(): Promise<string> {
    const raw = path.join(bench().folder, 'recovered.raw');
    const { diskFile } = await openRun(bench().runDir('r'));
    await convertImage({ file: diskFile, format: 'qcow2' }, raw, 'raw');
    const { exitCode, stdout } = await sh({ env: ext4Env(), nothrow: true })`e2fsck -fy ${raw}`;
    expect(exitCode, stdout).to.equal(MENDED);
    expect(stdout).to.match(/recovering journal/);
    return raw;
  }

  async function rebuild(at: string, name: string): Promise<ReconstructResult> {
    const runDir = bench().runDir('r');
    const vm = await replayVm(runDir, bench().ctx);
    const output = path.join(bench().folder, name);
    return await reconstruct({ runDir, at, output, format: 'raw', vm: async () => vm }, bench().ctx);
  }

  /** The effect that made the file, which the disk does not have. */
  async function birthOf(name: string): Promise<bigint> {
    for await (const { record } of eventsOf(bench().runDir('r'), { ops: new Set(['CREATE']) }))
      if (record.kind === 'effect' && record.effect.op === 'CREATE' && record.effect.name.toString() === name)
        return record.effect.seq;
    throw new Error(`nobody made ${name}`);
  }

  for (const row of ROWS) {
    const { what, mountOptions } = row;
    it(`is exact until then, and tainted from then on: ${what}`, async () => {
      let sector: number | undefined;
      let machine: Machine | undefined;
      const said = new PassThrough();
      // A disk that is broken can't be marked.
      said.once('data', () => {
        if (machine !== undefined && sector !== undefined) breakDisk(machine, sector);
      });
      const { manifest, output } = await bench().record('r', script(row), {
        copyIn: [{ source: await guestProgram('files', bench().folder), destination: '/root/files' }],
        tune: async (raw) => {
          sector = await sectorOf(raw, JOURNAL, BAD_BLOCK);
        },
        onMachine: (started: Machine) => {
          machine = started;
        },
        stderr: said,
        ...(mountOptions === undefined ? {} : { mountOptions }),
      });
      expect(manifest.exitStatus, output).to.equal(0);
      const { account } = await statsOf(bench().runDir('r'));
      expect([account.isComplete, account.gaps.length]).to.deep.equal([true, 0]);

      const result = await bench().verify('r');
      expect(result.marks.map(({ mark }) => mark)).to.deep.equal(['before']);
      expect([result.isEqual, result.replay.taintCount]).to.deep.equal([true, 0n]);

      const lost = output.trim();
      const rebuilt = await rebuild(`seq:${(await birthOf(lost)) - 1n}`, 'committed.raw');
      expect(rebuilt.isVouchedFor).to.equal(true);
      const recovered = await recoveredDisk();
      const verdict = await verifyImages(rebuilt.output, recovered, bench().ctx);
      expect(verdict.first).to.deep.equal([]);
      expect(verdict.compared).to.be.greaterThan(Number(lost));

      const taints = (await taintsOf(bench().runDir('r'))).map(({ text }) => text);
      expect(new Set(taints)).to.deep.equal(new Set(row.isLast === true ? [ABORTED] : [ABORTED, FOUND]));
      const end = await rebuild('end', 'end.raw');
      const beyond = await verifyImages(end.output, recovered, bench().ctx);
      expect(beyond.first.map(({ path: name }) => name)).to.include(`/root/d/${lost}`);
      expect(end.isVouchedFor).to.equal(false);
    });
  }
});

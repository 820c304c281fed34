// SPDX-License-Identifier: MIT
import { parseImageKind } from '../../../images/build.js';
import { recordParts } from '../../parts/parts.js';
import { witnessParts } from '../../parts/witness.js';
import { parseCopyIn } from '../../run/copy-in.js';
import { checkNewRun, runDirOf } from '../../run/folder.js';
import { recordRun } from '../../run/record.js';
import { checkRequest, parseForward } from '../../run/record-options.js';
import { witnessLines, witnessVerdict } from '../../run/witness.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

/** `record`: what is wrong with the command line is said before anything is built. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const name = invocation.need('run');
  const runDir = runDirOf(ctx.runsDir, name);
  const imageKind = parseImageKind(invocation.string('image') ?? 'debian');
  const copyIn = invocation.list('copy-in').map(parseCopyIn);
  const [program, ...args] = invocation.args;
  if (program === undefined) throw new LabError('LAB_USAGE', 'record: no command was given');
  const smp = invocation.int('smp');
  const memoryMiB = invocation.int('memory');
  const seconds = invocation.seconds('timeout');
  const isDebug = invocation.bool('debug');
  const isWitnessed = invocation.bool('witness');
  const force = invocation.bool('force');
  const request = {
    config: invocation.string('config') ?? 'static-relay',
    copyIn,
    ...(smp === undefined ? {} : { smp }),
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
  };
  const forwards = invocation.list('forward').map(parseForward);
  const config = await checkRequest({ ...request, isDebug, isWitnessed });
  await checkNewRun(runDir, force);
  const parts = await recordParts(config, imageKind, isDebug, ctx);
  const result = await recordRun(
    {
      ...parts,
      ...request,
      runDir,
      command: [program, ...args],
      kernelArgs: invocation.list('kernel-arg'),
      qemuArgs: invocation.list('qemu-arg'),
      forwards,
      force,
      ...(isWitnessed ? { witness: await witnessParts(parts.kernel, ctx) } : {}),
      // With --json, stdout is for the facts alone.
      stdout: invocation.json ? process.stderr : process.stdout,
      stderr: process.stderr,
      ...(process.stdin.isTTY === true ? {} : { stdin: process.stdin }),
      ...(seconds === undefined ? {} : { timeoutMs: seconds * 1000 }),
    },
    ctx,
  );
  const { manifest } = result;
  const verdict = manifest.witness === undefined ? null : await witnessVerdict(runDir, manifest.witness, ctx.signal);
  if (invocation.json) await invocation.out.json({ runDir, ...manifest, witnessVerdict: verdict });
  ctx.log.info(
    `run '${name}': ${manifest.state}, ${manifest.marks.length} marks, ${manifest.trace.bytes} bytes of record, ` +
      `command ended with ${result.exitStatus}${result.timedOut ? ' (timeout)' : ''}: ${runDir}`,
  );
  const reports = manifest.kernelReports ?? [];
  for (const { kind, text } of reports) ctx.log.error(`the kernel's checkers: ${kind}\n${text}`);
  const holds = verdict === null || verdict.faults.length === 0;
  for (const line of verdict === null ? [] : witnessLines(verdict)) (holds ? ctx.log.info : ctx.log.error)(line);
  return holds && reports.length === 0 ? result.exitStatus : 1;
}

// SPDX-License-Identifier: MIT
import { createInterface } from 'node:readline';
import { type Exported, type Reached, ReplaySession } from '../../../replay/session.js';
import { summaryOf, warningsOf } from '../../../replay/shortfalls.js';
import { replayVm } from '../../parts/parts.js';
import { findRunDir } from '../../run/folder.js';
import { describeError, exitStatusOf, LabError } from '../../util/errors.js';
import type { Output } from '../../util/output.js';
import type { Invocation } from '../invocation.js';

/** What a line of input asks for. */
export type StepCommand =
  | { readonly kind: 'goto'; readonly instant: string }
  | { readonly kind: 'step'; readonly count: number }
  | { readonly kind: 'export'; readonly file: string }
  | { readonly kind: 'where' | 'quit' | 'nothing' };

const COMMANDS = 'goto INSTANT, next [N], prev [N], export FILE.raw or FILE.qcow2, where, quit';

/** Reads one line; LAB_USAGE if it is no command. Pure. */
export function parseStepCommand(line: string): StepCommand {
  const [word = '', ...rest] = line.trim().split(/\s+/);
  const operand = line.trim().slice(word.length).trim();
  switch (word) {
    case '':
      return { kind: 'nothing' };
    case 'where':
    case 'quit':
      if (rest.length === 0) return { kind: word };
      break;
    case 'goto':
      if (operand !== '') return { kind: 'goto', instant: operand };
      break;
    case 'export':
      if (operand !== '') return { kind: 'export', file: operand };
      break;
    case 'next':
    case 'prev':
      if (/^\d{0,9}$/.test(operand)) {
        const count = Number(operand === '' ? '1' : operand);
        return { kind: 'step', count: word === 'next' ? count : -count };
      }
      break;
  }
  throw new LabError('LAB_USAGE', `'${line.trim()}' is no command`, { next: `there are: ${COMMANDS}` });
}

async function tell(out: Output, isJson: boolean, reached: Reached): Promise<void> {
  if (isJson) {
    await out.json({ type: 'reached', ...reached });
    return;
  }
  const { seq, op, loaded, applied, seconds, isVouchedFor } = reached;
  const way = [
    ...(loaded === undefined ? [] : [`from the keyframe at ${loaded}`]),
    `${applied} effects applied`,
    ...(op === undefined ? [] : [`the last one ${op}`]),
  ].join(', ');
  const doubts = isVouchedFor ? '' : `; not vouched for: ${summaryOf(reached)}: export names all of it`;
  await out.line(`seq ${seq}: ${way} (${seconds.toFixed(2)} s)${doubts}`);
}

/** Does one command; false ends the session. */
async function obey(
  session: ReplaySession,
  command: StepCommand,
  invocation: Invocation,
  onExport: (exported: Exported) => void,
): Promise<boolean> {
  const { out, json: isJson } = invocation;
  switch (command.kind) {
    case 'quit':
      return false;
    case 'nothing':
      return true;
    case 'goto':
      await tell(out, isJson, await session.goto(await session.resolve(command.instant)));
      return true;
    case 'step':
      await tell(out, isJson, await session.step(command.count));
      return true;
    case 'where':
      await tell(out, isJson, await session.step(0));
      return true;
    case 'export': {
      const { file } = command;
      const exported = await session.export(file, file.endsWith('.qcow2') ? 'qcow2' : 'raw');
      onExport(exported);
      if (isJson) await out.json({ type: 'exported', seq: session.position, file, ...exported });
      else await out.line(file);
      return true;
    }
  }
}

/**
 * `step`: on a terminal a failed command is reported and the session goes on; from a file or a pipe it ends it. 1 if an
 * image that was written cannot be vouched for in all its parts.
 */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { out } = invocation;
  const runDir = findRunDir(ctx.runsDir, invocation.run);
  const vm = await replayVm(runDir, ctx);
  const isTerminal = process.stdin.isTTY === true;
  const session = await ReplaySession.open({ runDir, vm }, ctx);
  const lines = createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  const onAbort = () => lines.close();
  let status = 0;
  const onExport = (exported: Exported) => {
    for (const warning of warningsOf(exported)) ctx.log.warn(warning);
    if (!exported.isVouchedFor) status = 1;
  };
  ctx.signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (const problem of session.shortfalls().problems) ctx.log.warn(problem);
    if (isTerminal) ctx.log.info(`at seq ${session.position}; ${COMMANDS}`);
    for await (const line of lines) {
      try {
        if (!(await obey(session, parseStepCommand(line), invocation, onExport))) break;
      } catch (error) {
        ctx.signal.throwIfAborted();
        // Only what was typed may be wrong; a VM that failed ends the session.
        if (!isTerminal || exitStatusOf(error) !== 2) throw error;
        ctx.log.warn(describeError(error));
      }
      if (out.gone) break;
    }
    ctx.signal.throwIfAborted();
    return status;
  } finally {
    ctx.signal.removeEventListener('abort', onAbort);
    lines.close();
    await session.close();
  }
}

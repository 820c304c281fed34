// SPDX-License-Identifier: MIT
/** Entry point: parse, run one verb, print an error once, end with the right status. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CommanderError } from 'commander';
import { catchInterrupts } from '../proc/interrupt.js';
import { describeError, exitStatusOf, LabError } from '../util/errors.js';
import { Output } from '../util/output.js';
import { withCustody } from './custody.js';
import { Invocation, ROOT, type VerbHandler } from './invocation.js';
import { buildProgram, helpOfTwo, unknownTopic } from './parse.js';
import { withoutPasswords } from './passphrase.js';

function versionOf(root: string): string {
  const parsed: unknown = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  if (typeof parsed === 'object' && parsed !== null && 'version' in parsed) return String(parsed.version);
  return 'unknown';
}

async function main(argv: readonly string[]): Promise<number> {
  const out = new Output(process.stdout);
  const { signal } = catchInterrupts({
    onFirst: (name) => process.stderr.write(`\nlemona: ${name}: closing (once more ends it at once)\n`),
  });
  let status = 0;
  let verbose = false;
  const version = versionOf(ROOT);
  const program = buildProgram(version, async (verb, args, flags) => {
    verbose = flags.get('verbose') === true;
    // In a constant: a bundler leaves it alone.
    const module = `./verbs/${verb.module}.js`;
    const loaded = (await import(module)) as { run: VerbHandler };
    const invocation = new Invocation(verb, args, flags, out, { argv, version }, signal);
    status = await withCustody(invocation, () => loaded.run(invocation));
  });
  try {
    const topic = unknownTopic(argv);
    if (topic !== undefined)
      throw new LabError('LAB_USAGE', `there is no command '${topic}'`, { next: './lemona help' });
    await program.parseAsync([...(helpOfTwo(argv) ?? (argv.length === 0 ? ['help'] : argv))], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      // It has printed its message already; help and version count as success.
      status = error.exitCode === 0 ? 0 : 2;
    } else {
      process.stderr.write(`lemona: ${describeError(error, { stack: verbose })}\n`);
      status = exitStatusOf(error);
    }
  }
  await out.flush();
  return status;
}

const shown = withoutPasswords(process.argv);
// Whoever lists processes sees this instead.
if (shown.some((word, i) => word !== process.argv[i])) process.title = shown.join(' ');
process.exitCode = await main(process.argv.slice(2));
// Whatever a verb may have left pending must not keep a finished command alive.
process.exit();

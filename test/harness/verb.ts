// SPDX-License-Identifier: MIT
/** A verb of the command line, called in this process: fast, where no launcher and no Ctrl-C is wanted. */
import { Writable } from 'node:stream';
import { Invocation, type VerbHandler } from '../../lab/cli/invocation.js';
import { buildProgram } from '../../lab/cli/parse.js';
import * as audit from '../../lab/cli/verbs/audit.js';
import * as benchCompare from '../../lab/cli/verbs/bench-compare.js';
import * as custody from '../../lab/cli/verbs/custody.js';
import * as enroll from '../../lab/cli/verbs/enroll.js';
import * as events from '../../lab/cli/verbs/events.js';
import * as index from '../../lab/cli/verbs/index.js';
import * as keyframes from '../../lab/cli/verbs/keyframes.js';
import * as merge from '../../lab/cli/verbs/merge.js';
import * as stats from '../../lab/cli/verbs/stats.js';
import { Output } from '../../lab/util/output.js';

const VERBS: Readonly<Record<string, { readonly run: VerbHandler }>> = {
  audit,
  'bench-compare': benchCompare,
  custody,
  enroll,
  events,
  index,
  keyframes,
  merge,
  stats,
};

export interface VerbEnded {
  readonly status: number;
  readonly stdout: string;
}

/** Rejects as the verb does, with its LabError. */
export async function callVerb(...words: string[]): Promise<VerbEnded> {
  let stdout = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      stdout += chunk.toString('utf8');
      done();
    },
  });
  let status: number | undefined;
  const program = buildProgram('0', async (verb, args, flags) => {
    const command = { argv: words, version: '0' };
    const invocation = new Invocation(verb, args, flags, new Output(stream), command, new AbortController().signal);
    status = await VERBS[verb.module]?.run(invocation);
  });
  await program.parseAsync(words, { from: 'user' });
  if (status === undefined) throw new Error(`verb.ts knows no verb '${words[0]}'`);
  return { status, stdout };
}

// SPDX-License-Identifier: MIT
/** What a verb is given: its operands and flags as the table typed them, and the context. */
import path from 'node:path';
import { defaultCacheDir, defaultDataDir, type LabContext } from '../util/context.js';
import { LabError } from '../util/errors.js';
import { silentLog, stderrLog } from '../util/log.js';
import type { Output } from '../util/output.js';
import { silentProgress, stderrProgress } from '../util/progress.js';
import { COMMON_FLAGS, type FlagKind, type VerbSpec } from './table.js';

/** The repository's root. */
export const ROOT = path.resolve(import.meta.dirname, '../..');

export type FlagValue = string | boolean | number | readonly string[];

export class Invocation {
  readonly verb: VerbSpec;
  readonly args: readonly string[];
  readonly out: Output;
  /** As it was typed, and the version of this program. */
  readonly command: { readonly argv: readonly string[]; readonly version: string };
  readonly #flags: ReadonlyMap<string, FlagValue>;
  readonly #signal: AbortSignal;

  constructor(
    verb: VerbSpec,
    args: readonly string[],
    flags: ReadonlyMap<string, FlagValue>,
    out: Output,
    command: { readonly argv: readonly string[]; readonly version: string },
    signal: AbortSignal,
  ) {
    this.verb = verb;
    this.args = args;
    this.out = out;
    this.command = command;
    this.#flags = flags;
    this.#signal = signal;
  }

  /** The flag's value as the table promises it; asking for a flag the table lacks is our bug. */
  #get(name: string, kind: FlagKind): FlagValue | undefined {
    const spec = [...this.verb.flags, ...COMMON_FLAGS].find((flag) => flag.name === name);
    if (spec?.kind !== kind) {
      throw new LabError('LAB_BUG', `the verb '${this.verb.name}' has no flag --${name} of kind ${kind}`);
    }
    return this.#flags.get(name);
  }

  bool(name: string): boolean {
    return this.#get(name, 'bool') === true;
  }

  string(name: string): string | undefined {
    const value = this.#get(name, 'string');
    return typeof value === 'string' ? value : undefined;
  }

  /** A flag the table calls required. */
  need(name: string): string {
    const value = this.string(name);
    if (value === undefined) throw new LabError('LAB_USAGE', `--${name} is needed`);
    return value;
  }

  int(name: string): number | undefined {
    const value = this.#get(name, 'int');
    return typeof value === 'number' ? value : undefined;
  }

  seconds(name: string): number | undefined {
    const value = this.#get(name, 'seconds');
    return typeof value === 'number' ? value : undefined;
  }

  list(name: string): readonly string[] {
    const value = this.#get(name, 'list');
    return Array.isArray(value) ? (value as readonly string[]) : [];
  }

  get json(): boolean {
    return this.#flags.get('json') === true;
  }

  /** An operand that the table does not call optional. */
  operand(index: number): string {
    const value = this.args[index];
    if (value === undefined)
      throw new LabError('LAB_BUG', `the verb '${this.verb.name}' was called without its operand ${index}`);
    return value;
  }

  /** The first operand. */
  get run(): string {
    return this.operand(0);
  }

  context(): LabContext {
    const quiet = this.bool('quiet');
    const runs = this.#flags.get('runs');
    return {
      log: quiet ? silentLog : stderrLog(this.bool('verbose') ? 'debug' : 'info'),
      progress: quiet ? silentProgress : stderrProgress(),
      signal: this.#signal,
      cacheDir: defaultCacheDir(),
      dataDir: defaultDataDir(),
      runsDir: path.resolve(typeof runs === 'string' ? runs : 'runs'),
    };
  }
}

/** What every module in `verbs/` exports; the result is the exit status. */
export type VerbHandler = (invocation: Invocation) => Promise<number>;

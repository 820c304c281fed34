// SPDX-License-Identifier: MIT
/** The command table as a commander program. */
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import type { FlagValue } from './invocation.js';
import { type ArgSpec, COMMON_FLAGS, EXITS, type FlagSpec, INSTANTS, VERBS, type VerbSpec } from './table.js';

export type OnVerb = (verb: VerbSpec, args: readonly string[], flags: ReadonlyMap<string, FlagValue>) => Promise<void>;

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value === 0) {
    throw new InvalidArgumentError('a whole number above 0 is wanted.');
  }
  return value;
}

/** A timer of Node.js that is set to more goes off at once. */
const SECONDS_MOST = 2_147_483;

function positiveSeconds(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || !(value > 0) || value > SECONDS_MOST)
    throw new InvalidArgumentError(`seconds above 0 and up to ${SECONDS_MOST} are wanted.`);
  return value;
}

/** No flag has a meaning for nothing: it is a variable of a script that was not set. */
function someText(text: string): string {
  if (text === '') throw new InvalidArgumentError('it is empty.');
  return text;
}

/** How a flag is written: `--run <NAME>`. */
export function flagSyntax(flag: FlagSpec): string {
  return flag.kind === 'bool' ? `--${flag.name}` : `--${flag.name} <${flag.value ?? 'VALUE'}>`;
}

/** How an operand is written: `<run>`, `[flavour]`, `<cmd...>`. */
export function argSyntax(arg: ArgSpec): string {
  const inner = arg.variadic === true ? `${arg.name}...` : arg.name;
  return arg.optional === true ? `[${inner}]` : `<${inner}>`;
}

function toOption(flag: FlagSpec): Option {
  const { choices } = flag;
  const offered = flag.kind === 'list' && choices !== undefined ? `: ${choices.join(', ')}` : '';
  const note = flag.kind === 'list' ? ' (repeatable)' : flag.required === true ? ' (required)' : '';
  const option = new Option(flagSyntax(flag), `${flag.help}${note}${offered}`);
  if (flag.kind === 'int') option.argParser(wholeNumber);
  if (flag.kind === 'seconds') option.argParser(positiveSeconds);
  if (flag.kind === 'string') option.argParser(someText);
  if (flag.kind === 'list')
    option.argParser((text, before: string[] | undefined) => [...(before ?? []), someText(text)]);
  if (choices !== undefined && flag.kind !== 'list') option.choices(choices);
  if (flag.required === true) option.makeOptionMandatory();
  return option;
}

function flagsOf(specs: readonly FlagSpec[], command: Command): Map<string, FlagValue> {
  const values = new Map<string, FlagValue>();
  for (const spec of specs) {
    const camel = spec.name.replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase());
    const value: unknown = command.getOptionValue(camel);
    if (value !== undefined) values.set(spec.name, value as FlagValue);
  }
  return values;
}

const AFTER_HELP = [
  '',
  'Begin with:',
  '  ./lemona demo',
  "  ./lemona record --run first -- sh -c 'echo hello > /root/hello'",
  '  ./lemona events first --path hello',
  '  ./lemona verify first',
  '',
  'Instants (--at):',
  ...INSTANTS.map(([syntax, meaning]) => `  ${syntax.padEnd(24)} ${meaning}`),
  '',
  'Exit status:',
  ...EXITS.map(([status, meaning]) => `  ${String(status).padEnd(5)} ${meaning}`),
].join('\n');

/** `help` of something that is no verb would print the whole help, and not say why. */
export function unknownTopic([first, topic]: readonly string[]): string | undefined {
  if (first !== 'help' || topic === undefined || topic.startsWith('-')) return undefined;
  return VERBS.some(({ name }) => name.split(' ')[0] === topic) ? undefined : topic;
}

/** `help build kernel` asks for what `build kernel --help` prints; commander knows help of one word only. */
export function helpOfTwo([first, ...topic]: readonly string[]): readonly string[] | undefined {
  const isVerb = topic.length === 2 && VERBS.some(({ name }) => name === topic.join(' '));
  return first === 'help' && isVerb ? [...topic, '--help'] : undefined;
}

/** What a word that is no verb alone leads to: `build kernel, build image`. */
function wordsAfter(first: string): string {
  return VERBS.map(({ name }) => name)
    .filter((name) => name.startsWith(`${first} `))
    .join(', ');
}

/** Builds the parser; commander itself prints usage errors and help. */
export function buildProgram(version: string, onVerb: OnVerb): Command {
  const program = new Command('lemona')
    .description(
      'Lemona Lab records everything a guest Linux does to its file system, and rebuilds the file system at any instant.',
    )
    .version(version, '--version', 'print the version')
    .enablePositionalOptions()
    .showHelpAfterError('(see: ./lemona help)')
    .addHelpText('after', AFTER_HELP)
    .exitOverride();
  const parents = new Map<string, Command>();
  for (const verb of VERBS) {
    const [first = '', second] = verb.name.split(' ');
    let parent = program;
    if (second !== undefined) {
      parent = parents.get(first) ?? program.command(first).description(wordsAfter(first)).exitOverride();
      parents.set(first, parent);
    }
    const command = parent
      .command(second ?? first)
      .description(verb.summary)
      .showHelpAfterError(`(see: ./lemona help ${verb.name})`)
      .exitOverride();
    // A verb of one word may have others below it.
    if (second === undefined) parents.set(first, command);
    for (const arg of verb.args) {
      const argument = new Argument(
        argSyntax(arg),
        arg.choices === undefined ? arg.help : `${arg.help}: ${arg.choices.join(', ')}`,
      );
      if (arg.choices !== undefined) {
        const { choices } = arg;
        argument.argParser((text, before: unknown) => {
          if (!choices.includes(text)) throw new InvalidArgumentError(`one of ${choices.join(', ')} is wanted.`);
          return arg.variadic === true ? [...(Array.isArray(before) ? before : []), text] : text;
        });
      }
      command.addArgument(argument);
    }
    const flags = [...verb.flags, ...COMMON_FLAGS];
    for (const flag of flags) command.addOption(toOption(flag));
    if (verb.passThrough === true) command.passThroughOptions();
    command.action(async () => {
      const args = command.processedArgs.flat().filter((arg): arg is string => typeof arg === 'string');
      await onVerb(verb, args, flagsOf(flags, command));
    });
  }
  return program;
}

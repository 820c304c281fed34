// SPDX-License-Identifier: MIT
/** What an analysis finds, and how it is told: which sessions were an intruder's, in words of one line each. */
import type { Session } from './processes.js';
import type { PathClass } from './rules.js';

export type Rule =
  | 'session'
  | 'account'
  | 'root'
  | 'secret'
  | 'setuid'
  | 'changed'
  | 'tampered'
  | 'tools'
  | 'deleted'
  | 'destroyed'
  | PathClass;

export interface Finding {
  readonly realNs: bigint;
  readonly rule: Rule;
  readonly uid: number;
  readonly euid: number;
  readonly pid: number;
  /** Process tree within the session, outermost first. */
  readonly chain: string;
  readonly text: string;
  readonly session: number;
}

export interface DeletedFile {
  readonly path: string;
  /** The effect that removed its last name. */
  readonly seq: bigint;
  readonly realNs: bigint;
  readonly sizeBytes: bigint;
  readonly session: number;
  readonly pid: number;
  /** Put together from the record alone; undefined if it was too large, or not born in the record. */
  readonly content: Buffer | undefined;
}

export interface Destruction {
  /** Its first effect. */
  readonly seq: bigint;
  readonly realNs: bigint;
  readonly chain: string;
  readonly text: string;
  /** The last mark before it. */
  readonly mark: { readonly label: string; readonly seq: bigint } | undefined;
}

export interface Story {
  readonly findings: readonly Finding[];
  readonly deleted: readonly DeletedFile[];
  readonly destruction: Destruction | undefined;
}

/** Rules that make a session an intruder's; the others only tell more about one that is. */
const HEAVY: ReadonlySet<Rule> = new Set<Rule>(['setuid', 'tampered', 'accounts', 'schedule', 'destroyed', 'login']);

/** A finding that grows while one process goes on doing the same. */
export interface Draft {
  realNs: bigint;
  rule: Rule;
  uid: number;
  euid: number;
  pid: number;
  chain: string;
  session: Session;
  subject: string;
  verb: string;
  bytes: number;
  sample: string;
  names: string[];
  count: number;
}

function listed(names: readonly string[], count: number): string {
  const shown = names.slice(0, 6).join(', ');
  return count > 6 ? `${shown} and ${count - 6} more` : shown;
}

const LABELS: Partial<Record<Rule, string>> = {
  accounts: 'accounts',
  schedule: 'scheduled job',
  log: 'log',
  login: 'login',
  startup: 'start-up file',
  program: "among the system's programs",
};

function textOf(draft: Draft): string {
  const { verb, subject, sample, names, count, rule } = draft;
  if (rule === 'deleted') return `deleted ${count} ${count === 1 ? 'file' : 'files'}: ${listed(names, count)}`;
  if (rule === 'tools') return `made ${count} ${count === 1 ? 'file' : 'files'} in ${subject}: ${listed(names, count)}`;
  if (rule === 'destroyed') return `${verb}: ${count} ${count === 1 ? 'write' : 'writes'}, the first a ${sample}`;
  const label = LABELS[rule] === undefined ? '' : ` (${LABELS[rule]})`;
  return `${verb} ${subject}${label}${sample === '' ? '' : `: ${sample}`}`;
}

/** The timeline of the sessions that did something grave, in the order of the drafts: clocks can be set back. Pure. */
export function storyOf(
  drafts: readonly Draft[],
  deleted: readonly DeletedFile[],
  destruction: Destruction | undefined,
): Story {
  const bad = new Set(drafts.filter(({ rule }) => HEAVY.has(rule)).map(({ session }) => session.id));
  const findings = drafts
    .filter(({ session }) => bad.has(session.id))
    .map((draft) => {
      const { realNs, rule, uid, euid, pid, chain, session } = draft;
      return { realNs, rule, uid, euid, pid, chain, text: textOf(draft), session: session.id };
    });
  return { findings, deleted: deleted.filter(({ session }) => bad.has(session)), destruction };
}

// SPDX-License-Identifier: MIT
/**
 * Reads a record and tells the story of an intrusion: a timeline of what the
 * sessions of non-root users did that matters (rules.ts), the files they
 * deleted, and the first act that destroyed a disk. Nothing here knows the
 * demo's scripts; it is judged by records alone.
 */
import type { Attr, Effect } from '../abi/effects.js';
import { FLAG, KIND } from '../abi/layout.js';
import { abiOf, syscallName } from '../abi/syscalls.js';
import { argvOf } from '../trace/calls.js';
import { InodeNames, type RootFs } from '../trace/names.js';
import type { TraceRecord } from '../trace/record.js';
import type { RunIndex } from '../trace/run-index.js';
import { displayBytes } from '../trace/text.js';
import { timeline } from '../trace/timeline.js';
import { BoundedMap } from '../util/bounded-map.js';
import { FileContents } from './contents.js';
import { type Process, Processes, type Session } from './processes.js';
import { classOf, isScratch, isSecret } from './rules.js';
import { type DeletedFile, type Destruction, type Draft, type Rule, type Story, storyOf } from './story.js';

const CALLS: ReadonlySet<string> = new Set(['execve', 'execveat', 'open', 'openat', 'openat2']);
/** O_ACCMODE and its value for reading. */
const ACCESS_MASK = 3n;
/** More findings than a person reads are only more of the same. */
const FINDINGS_KEPT = 5_000;
const DELETED_KEPT = 5_000;
const SAMPLE_BYTES = 100;
/** Files, threads and sessions remembered; the oldest go first. */
const FILES_KEPT = 50_000;
const THREADS_KEPT = 50_000;
const SESSIONS_KEPT = 50_000;
/** Of a command line: what a person reads. */
const WORDS_KEPT = 64;
const WORD_BYTES = 1024;
/** Below a directory of no known name, on whatever device. */
const UNNAMED = /^(\[dev \d+:\d+\])?#/;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_ISUID = 0o4000;

const keyOf = (effect: { readonly dev: number; readonly ino: bigint; readonly gen: number }) =>
  `${effect.dev}:${effect.ino}:${effect.gen}`;

/** Takes records in order of time; `story` tells what they were about. */
export class Analysis {
  readonly #processes = new Processes();
  readonly #names: InodeNames;
  readonly #contents = new FileContents();
  readonly #drafts = new Map<string, Draft>();
  readonly #deleted: DeletedFile[] = [];
  /** Which session brought a file into being. */
  readonly #born = new BoundedMap<string, number>(FILES_KEPT);
  /** Paths that a session wrote to, and files it made setuid. */
  readonly #writtenPaths = new BoundedMap<string, Session>(FILES_KEPT);
  readonly #planted = new BoundedMap<string, true>(FILES_KEPT);
  /** Opening of a secret, until its result is known. */
  readonly #opening = new BoundedMap<number, { readonly path: string; readonly realNs: bigint }>(THREADS_KEPT);
  /** What a thread is about to execute, and as whom: its credentials change before the EXEC record comes. */
  readonly #executing = new BoundedMap<number, { readonly argv: readonly string[]; readonly euid: number }>(
    THREADS_KEPT,
  );
  readonly #announced = new BoundedMap<number, true>(SESSIONS_KEPT);
  #lastMark: Destruction['mark'];
  #destruction: Destruction | undefined;

  /** @param root which file system is `/`, and what it held before the record */
  constructor(root?: RootFs) {
    this.#names = new InodeNames(root);
  }

  /** Of several names the one that matters most: a link in a scratch place hides no other name of a file. */
  #path(effect: Effect): string {
    const paths = this.#names.paths(effect);
    return (
      paths.find((path) => classOf(path) !== undefined) ?? paths.find((path) => !isScratch(path)) ?? paths[0] ?? ''
    );
  }

  /** Adds to the draft of this process, rule and subject, or begins one. */
  #note(
    record: TraceRecord,
    process: Process,
    rule: Rule,
    verb: string,
    subject: string,
    name?: string,
  ): Draft | undefined {
    const { session } = process;
    if (session === undefined) return undefined;
    const who = rule === 'tools' ? '' : process.tgid;
    const key = `${session.id}/${who}/${rule}/${rule === 'deleted' ? '' : subject}`;
    let draft = this.#drafts.get(key);
    if (draft === undefined) {
      if (this.#drafts.size >= FINDINGS_KEPT) return undefined;
      draft = {
        realNs: record.realNs,
        rule,
        uid: process.uid,
        euid: process.euid,
        pid: process.tgid,
        chain: Processes.chain(process),
        session,
        subject,
        verb,
        bytes: 0,
        sample: '',
        names: [],
        count: 0,
      };
      this.#drafts.set(key, draft);
    }
    draft.count += 1;
    if (name !== undefined && draft.names.length < 6) draft.names.push(name);
    return draft;
  }

  observe(record: TraceRecord): void {
    switch (record.kind) {
      case 'entry':
        this.#entry(record);
        return;
      case 'exit':
        this.#exit(record);
        return;
      case 'exec':
        this.#exec(record);
        return;
      case 'cred': {
        const before = this.#processes.of(record.tid);
        const session = before?.session;
        const uid = before?.uid;
        this.#processes.observe(record);
        const process = this.#processes.of(record.tid);
        if (process === undefined) return;
        if (session !== undefined && uid !== record.uid && record.uid !== 0) {
          this.#note(record, process, 'account', 'became', `uid ${record.uid} (was uid ${uid})`);
        }
        return;
      }
      case 'effect':
        if (record.effect.op !== 'MALFORMED') this.#effect(record, record.effect);
        return;
      default:
        this.#processes.observe(record);
    }
  }

  #entry(record: Extract<TraceRecord, { kind: 'entry' }>): void {
    const name = syscallName(record.nr, record.abi);
    if (name.startsWith('exec')) {
      const words = argvOf(record)?.bytes.toString('latin1').split('\0', WORDS_KEPT).filter(Boolean) ?? [];
      const argv = words.map((word) => displayBytes(Buffer.from(word.slice(0, WORD_BYTES), 'latin1')));
      this.#executing.set(record.tid, { argv, euid: this.#processes.of(record.tid)?.euid ?? 0 });
      return;
    }
    const process = this.#processes.of(record.tid);
    // A program of the system that is setuid for a reason, such as su, reads secrets as its job.
    if (process?.session === undefined || process.privilege === 'system program') return;
    const captured = record.captures.find((capture) => capture.type === 'PATH');
    const flags = record.args[name === 'open' ? 1 : 2] ?? 0n;
    if (captured === undefined || (name !== 'openat2' && (flags & ACCESS_MASK) !== 0n)) return;
    const path = displayBytes(captured.bytes);
    if (isSecret(path)) this.#opening.set(record.tid, { path, realNs: record.realNs });
  }

  #exit(record: Extract<TraceRecord, { kind: 'exit' }>): void {
    const opening = this.#opening.get(record.tid);
    if (opening === undefined) return;
    this.#opening.delete(record.tid);
    const process = this.#processes.of(record.tid);
    if (process !== undefined && record.ret >= 0n) this.#note(record, process, 'secret', 'read', opening.path);
  }

  #exec(record: Extract<TraceRecord, { kind: 'exec' }>): void {
    const before = this.#processes.of(record.tgid);
    const { argv, euid: wasEuid } = this.#executing.get(record.tid) ?? { argv: [], euid: before?.euid ?? 0 };
    this.#executing.delete(record.tid);
    this.#processes.observe(record);
    const process = this.#processes.of(record.tgid);
    if (process === undefined) return;
    process.argv = argv;
    const program = displayBytes(record.path);
    if (process.session !== undefined && !this.#announced.has(process.session.id)) {
      this.#announced.set(process.session.id, true);
      this.#note(record, process, 'session', 'began with', argv.join(' ') || program);
    }
    if (process.session === undefined && record.uid === 0) {
      // Root runs what a session wrote: from here on it does the session's bidding.
      for (const word of [program, ...argv.slice(0, 2)]) {
        const writer = this.#writtenPaths.get(word);
        if (writer === undefined) continue;
        process.session = writer;
        this.#note(record, process, 'tampered', 'root ran', `${word}, which uid ${writer.uid}'s session had changed`);
        break;
      }
    }
    if (record.uid !== 0 && record.euid === 0 && wasEuid !== 0) {
      const planted = this.#planted.has(keyOf(record)) || this.#planted.has(program);
      process.privilege = planted ? 'planted program' : 'system program';
      if (planted)
        this.#note(record, process, 'root', 'became root through', `${program}, a setuid program that was planted`);
    }
  }

  #effect(record: TraceRecord, effect: Effect): void {
    if (effect.op === 'MARK') {
      if (this.#destruction === undefined) this.#lastMark = { label: displayBytes(effect.label), seq: effect.seq };
      return;
    }
    const process = this.#processes.of(record.tid);
    if (effect.op === 'TAINT') {
      this.#taint(record, effect, process);
      return;
    }
    this.#names.observe(effect);
    if (process?.session !== undefined) this.#act(record, effect, process, process.session);
    if (effect.op === 'UNLINK' && effect.child.nlink === 0) this.#remember(record, effect, process);
    this.#contents.observe(effect);
  }

  #taint(record: TraceRecord, effect: Extract<Effect, { op: 'TAINT' }>, process: Process | undefined): void {
    if (effect.reason !== FLAG.TAINT_RAW_WRITE) return;
    if (process !== undefined) {
      const draft = this.#note(record, process, 'destroyed', 'overwrote the raw disk under the file system', '');
      if (draft !== undefined && draft.sample === '') draft.sample = displayBytes(effect.text);
    }
    this.#destruction ??= {
      seq: effect.seq,
      realNs: record.realNs,
      chain: process === undefined ? 'unknown' : Processes.chain(process),
      text: `${process?.argv.join(' ') || process?.comm || 'an unknown process'} wrote to the raw disk`,
      mark: this.#lastMark,
    };
  }

  #remember(
    record: TraceRecord,
    effect: Extract<Effect, { readonly child: Attr }>,
    process: Process | undefined,
  ): void {
    if (process?.session === undefined) return;
    if (this.#deleted.length >= DELETED_KEPT) return;
    const path = this.#path(effect);
    this.#deleted.push({
      path,
      seq: effect.seq,
      realNs: record.realNs,
      sizeBytes: effect.child.size,
      session: process.session.id,
      pid: process.tgid,
      content: this.#contents.get(effect.dev, effect.ino, effect.gen),
    });
    this.#note(record, process, 'deleted', 'deleted', '', path);
  }

  #act(record: TraceRecord, effect: Effect, process: Process, session: Session): void {
    const path = this.#path(effect);
    const key = keyOf(effect);
    const special = process.privilege === 'system program' ? undefined : classOf(path);
    switch (effect.op) {
      case 'CREATE':
        this.#born.set(key, session.id);
        // Programs add logs all the time; only what is taken from one matters.
        if (special !== undefined && special !== 'log') this.#note(record, process, special, 'created', path);
        else if (isScratch(path)) {
          const at = path.lastIndexOf('/');
          this.#note(record, process, 'tools', 'made', path.slice(0, at), path.slice(at + 1));
        }
        break;
      case 'WRITE':
      case 'PAGE': {
        for (const name of this.#names.paths(effect)) this.#writtenPaths.set(name, session);
        const own = this.#born.get(key) === session.id;
        if (special === 'log') break;
        if (special === undefined && (own || isScratch(path) || UNNAMED.test(path))) break;
        const rule = special ?? 'changed';
        const draft = this.#note(record, process, rule, own ? 'created' : 'changed', path);
        if (draft === undefined) break;
        draft.bytes += effect.data.length;
        // Machine code makes no reading.
        if (draft.sample === '' && !effect.data.includes(0)) {
          const line = effect.data.subarray(0, SAMPLE_BYTES).toString('latin1').split('\n')[0] ?? '';
          draft.sample = displayBytes(Buffer.from(line, 'latin1'));
        }
        break;
      }
      case 'SETATTR': {
        const { attr, valid } = effect;
        if ((valid & FLAG.VALID_MODE) !== 0 && (attr.mode & S_IFMT) === S_IFREG && (attr.mode & S_ISUID) !== 0) {
          this.#planted.set(key, true);
          for (const name of this.#names.paths(effect)) this.#planted.set(name, true);
          this.#note(record, process, 'setuid', `made setuid for uid ${attr.uid}:`, path);
        } else if ((valid & FLAG.VALID_SIZE) !== 0 && special !== undefined && this.#born.get(key) !== session.id) {
          this.#note(record, process, special, `cut to ${attr.size} bytes:`, path);
        }
        break;
      }
      case 'RENAME':
        if (special !== undefined && effect.target.ino !== 0n) {
          const what = `replaced (${effect.target.size} bytes became ${effect.source.size})`;
          this.#note(record, process, special, what, path);
        }
        break;
      case 'LINK':
      case 'SYMLINK':
        if (special !== undefined) this.#note(record, process, special, 'linked', path);
        break;
      case 'UNLINK':
        if (special !== undefined && this.#born.get(key) !== session.id) {
          this.#note(record, process, special, 'removed', path);
        }
        break;
      default:
    }
  }

  story(): Story {
    return storyOf([...this.#drafts.values()], this.#deleted, this.#destruction);
  }
}

/** Decodes only what the story needs: most records of a run are system calls it never looks at. */
function isWanted(kind: number, code: number, flags: number): boolean {
  if (kind === KIND.ENTRY || kind === KIND.EXIT) return CALLS.has(syscallName(code, abiOf(flags)));
  return kind !== KIND.SWITCH && kind !== KIND.FAULT && kind !== KIND.INFO && kind !== KIND.LOSS;
}

/** The story of a run. */
export async function analyse(
  runDir: string,
  index: RunIndex,
  root: RootFs | undefined,
  signal: AbortSignal,
): Promise<Story> {
  const analysis = new Analysis(root);
  for await (const record of timeline(runDir, index, { wish: isWanted, signal })) analysis.observe(record);
  return analysis.story();
}

// SPDX-License-Identifier: MIT
/** User ids that were seen, with their names as far as /etc/passwd told them. */
import { Batch, type Store } from './store.js';

/** Users of one trace: more are made up, and get no row. */
const KEPT = 10_000;
const LINE = /^([A-Za-z_][\w.-]{0,31}\$?):[^:\n]*:(\d{1,10}):\d{1,10}:[^:\n]*:[^:\n]*:[^:\n]*$/;
/** /etc/passwd, and what useradd, vipw and editors rename to it. */
const PASSWD = /^\/etc\/n?passwd(\+|\.edit|\.\d+)?$/;

export type NameSource = 'image' | 'record';

export interface PasswdLine {
  readonly name: string;
  readonly uid: number;
  /** It does not come from the beginning of the file: an earlier line may name the same user. */
  readonly isLater: boolean;
}

/** Whole lines of a part of /etc/passwd that begins at `pos`. Pure. */
export function passwdLines(text: string, pos: number | bigint): PasswdLine[] {
  const lines = text.split('\n');
  // What follows the last newline is not a whole line.
  lines.pop();
  return lines.flatMap((line) => {
    const [, name, uid] = LINE.exec(line) ?? [];
    return name === undefined ? [] : [{ name, uid: Number(uid), isLater: pos !== 0 }];
  });
}

export function isPasswd(path: string): boolean {
  return PASSWD.test(path);
}

interface User {
  readonly id: number;
  name: string | null;
  source: NameSource | null;
}

export class Users {
  readonly #trace: number;
  readonly #users = new Map<number, User>();
  #nextUser: number;
  readonly #fresh = new Map<number, User>();
  readonly #changed = new Set<User>();

  constructor(trace: number, nextUser: number) {
    this.#trace = trace;
    this.#nextUser = nextUser;
  }

  async restore(store: Store): Promise<void> {
    const rows = await store.select('SELECT id, uid, name, source FROM users WHERE trace = {int 1} ORDER BY id', [
      this.#trace,
    ]);
    for (const { id, uid, name = null, source } of rows)
      this.#users.set(Number(uid), { id: Number(id), name, source: (source ?? null) as NameSource | null });
  }

  seen(uid: number): User | undefined {
    const known = this.#users.get(uid);
    if (known !== undefined || this.#users.size >= KEPT) return known;
    const user: User = { id: this.#nextUser++, name: null, source: null };
    this.#users.set(uid, user);
    this.#fresh.set(uid, user);
    return user;
  }

  /** The first line for a user id counts, as it does for the system. */
  named(lines: readonly PasswdLine[], source: NameSource): void {
    const named = new Set<number>();
    for (const { name, uid, isLater } of lines) {
      const user = this.seen(uid);
      if (user === undefined || named.has(uid)) continue;
      named.add(uid);
      if (user.name === name || (isLater && user.name !== null)) continue;
      user.name = name;
      user.source = source;
      if (!this.#fresh.has(uid)) this.#changed.add(user);
    }
  }

  async flush(store: Store): Promise<void> {
    const fresh = new Batch('users');
    for (const [uid, user] of this.#fresh) fresh.values.push(user.id, this.#trace, uid, user.name, user.source);
    const changed = new Batch('users', ['id', 'name', 'source']);
    for (const user of this.#changed) changed.values.push(user.id, user.name, user.source);
    this.#fresh.clear();
    this.#changed.clear();
    await store.insert(fresh);
    await store.update(changed);
  }
}

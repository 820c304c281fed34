// SPDX-License-Identifier: MIT
/** Numbers of `kinds`: made of the record's own numbers, so that they need no look-up. */
import { FLAG, KIND, KIND_NAMES, OP_NAMES } from '../abi/layout.js';
import { abiOf, syscallName } from '../abi/syscalls.js';
import { uringOpName } from '../abi/uring.js';
import { Batch, type Store } from './store.js';

const { ENTRY, EXIT, EFFECT, URING } = KIND;
const { F_ABI_MASK } = FLAG;

/** An EXIT whose ENTRY is not there is an event of that call too. */
export function kindOf(kind: number, code: number, flags: number): number {
  const cls = kind === EXIT ? ENTRY : kind;
  // Of the others, `code` is no part of what they are.
  const isCoded = cls === ENTRY || cls === EFFECT || cls === URING;
  return cls * 0x4_0000 + (cls === ENTRY ? flags & F_ABI_MASK : 0) * 0x1_0000 + (isCoded ? code : 0);
}

/** Class and name of a number. */
export function kindNames(id: number): readonly [cls: string, name: string] {
  const kind = id >>> 18;
  const code = id & 0xffff;
  const cls = KIND_NAMES[kind] ?? `kind ${kind}`;
  if (kind === ENTRY) {
    const abi = abiOf((id >>> 16) & 3);
    return [cls, `${abi === '64' ? '' : `${abi}:`}${syscallName(code, abi, cls === 'ENTRY')}`];
  }
  if (kind === EFFECT) return [cls, OP_NAMES[code] ?? `opcode ${code}`];
  if (kind === URING) return [cls, uringOpName(code)];
  return [cls, cls.toLowerCase()];
}

/** The rows of `kinds`: each is written when its kind first comes. */
export class Kinds {
  readonly #known = new Set<number>();
  #fresh: number[] = [];

  async restore(store: Store): Promise<void> {
    for (const { id } of await store.select('SELECT id FROM kinds')) this.#known.add(Number(id));
  }

  of(kind: number, code: number, flags: number): number {
    const id = kindOf(kind, code, flags);
    if (!this.#known.has(id)) {
      this.#known.add(id);
      this.#fresh.push(id);
    }
    return id;
  }

  async flush(store: Store): Promise<void> {
    const batch = new Batch('kinds');
    for (const id of this.#fresh) batch.values.push(id, ...kindNames(id));
    this.#fresh = [];
    await store.insert(batch);
  }
}

// SPDX-License-Identifier: MIT
/**
 * What a call can do to a traced filesystem.
 *
 *   none[: note]                  it changes none
 *   replayed: OP, OP[; note]      these effects record it, and a rebuild applies them
 *   unsupported: why              it can change one in a way that a rebuild does not follow; the reason says whether a
 *                                 TAINT declares it
 *
 * Two things are true of every call and stand in no row: memory of the caller that it writes may be mapped from a file
 * (PAGE), and a path that it follows may lead over symbolic links, whose access time changes (SETATTR).
 */
export type CallEffect = 'none' | `none: ${string}` | `replayed: ${string}` | `unsupported: ${string}`;

export type Abi = '64' | 'ia32' | 'x32';

/** The shape of one row of the system-call tables. */
export interface SyscallRow {
  readonly nr: number;
  readonly name: string;
  /** One word per argument; `arguments.ts` explains them. */
  readonly args: string;
  readonly effect: CallEffect;
}

/** A row of ia32; its effect is that of the 64-bit call of the same name unless it says one. */
export type Ia32Row = Omit<SyscallRow, 'effect'> & { readonly effect?: CallEffect };

/** Args of a call the kernel has no code for: a probe of it is still worth all six registers. */
export const UNIMPLEMENTED = 'int int int int int int';

export interface EffectParts {
  readonly kind: 'none' | 'replayed' | 'unsupported';
  /** Opcodes of the effects that record it. */
  readonly ops: readonly string[];
  readonly note: string;
}

/**
 * Takes an effect apart.
 * @throws Error if it does not begin with one of the three words
 */
export function parseEffect(text: string): EffectParts {
  const [, kind, rest = ''] = /^(none|replayed|unsupported)(?:: (.+))?$/.exec(text) ?? [];
  if (kind === 'replayed') {
    const cut = rest.indexOf('; ');
    const ops = cut < 0 ? rest : rest.slice(0, cut);
    return { kind, ops: ops.split(', '), note: cut < 0 ? '' : rest.slice(cut + 2) };
  }
  if (kind === 'none' || kind === 'unsupported') return { kind, ops: [], note: rest };
  throw new Error(`the effect "${text}" is none of none, replayed and unsupported`);
}

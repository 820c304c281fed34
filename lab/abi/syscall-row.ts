// SPDX-License-Identifier: MIT
/** The shape of one row of the system-call tables; see `syscalls.ts` for the language of `args`. */
export interface SyscallRow {
  readonly nr: number;
  readonly name: string;
  /** One word per argument. */
  readonly args: string;
  /**
   * What the call means for a rebuilt filesystem: `replayed` its changes are recorded as effects · `none` it
   * changes no filesystem · `unsupported: why` its changes are not (wholly) rebuilt.
   */
  readonly fs: 'replayed' | 'none' | `unsupported: ${string}`;
}

/** Args of a call the kernel has no code for: a probe of it is still worth all six registers. */
export const UNIMPLEMENTED = 'int int int int int int';

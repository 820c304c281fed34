// SPDX-License-Identifier: MIT
/**
 * How far a logging server has the heads of this lab: a file in the data folder, `heads-sent/HOST:PORT-MACHINE.json`. It
 * may be behind what the server has, never ahead: the server says the rest when it is connected to.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../run/manifest.js';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { tryLock } from '../util/lock.js';

const hex64 = z.string().regex(/^[0-9a-f]{16}$/);
const count = z.number().int().nonnegative();

const schema = z.object({
  format: z.literal(1),
  /** The storage point's identity. */
  server: hex64,
  /** Of `heads.jsonl`, from its beginning, the server has acknowledged so many bytes: whole lines. */
  bytes: count,
  lines: count,
  /** The record that is not ended yet, and where in the file it begins. */
  boot: z
    .object({
      id: hex64,
      bytes: count,
      lines: count,
      /** The server has been told that it is all, and perhaps has not heard it. */
      isEnding: z.boolean(),
    })
    .nullable(),
});

export type WitnessState = z.infer<typeof schema>;

export interface Witness {
  readonly host: string;
  readonly port: number;
  readonly machine: string;
}

export class WitnessStateFile {
  readonly file: string;
  readonly #lock: string;

  private constructor(file: string) {
    this.file = file;
    this.#lock = `${file}.lock`;
  }

  /** Takes the state for this process alone: two would make the server end each other's connection. */
  static async take(dataDir: string, { host, port, machine }: Witness): Promise<WitnessStateFile> {
    const state = new WitnessStateFile(path.join(dataDir, 'heads-sent', `${host}:${port}-${machine}.json`));
    try {
      await mkdir(path.dirname(state.file), { recursive: true, mode: 0o700 });
      const owner = await tryLock(state.#lock);
      if (owner === 'taken') return state;
      throw new LabError('LAB_RUN_STATE', `process ${owner} is sending the heads to ${host}:${port} already`, {
        next: `wait for its end; if no such process runs, remove ${state.#lock}`,
      });
    } catch (error) {
      throw ioError(`locking ${state.#lock}`, error);
    }
  }

  /** Undefined: that server has nothing yet. */
  async read(): Promise<WitnessState | undefined> {
    let value: unknown;
    try {
      value = JSON.parse(await readFile(this.file, 'utf8'));
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      if (!(error instanceof SyntaxError)) throw ioError(`reading ${this.file}`, error);
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new LabError('LAB_RUN_CORRUPT', `${this.file} does not say, in format 1, what the server has`, {
      next: 'remove it: the server gets all heads once more, and nothing is lost',
    });
  }

  async write(state: WitnessState): Promise<void> {
    await writeAtomically(this.file, `${JSON.stringify(state, null, 2)}\n`);
  }

  async release(): Promise<void> {
    await rm(this.#lock, { force: true });
  }
}

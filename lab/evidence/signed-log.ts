// SPDX-License-Identifier: MIT
/**
 * Writing of signed logs (`docs/evidence.md`): one JSON object a line, each with its number, the SHA-256 of the line
 * before it, and at its end an Ed25519 signature of all bytes before `,"signature":`.
 *
 * A log only grows, by whole lines that are on the disk before anything else is said. Half a line, left by a writer that
 * was killed or by a full disk, is not signed; the next entry takes its place.
 */
import { createHash, type KeyObject, sign } from 'node:crypto';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';

/** What an entry says, besides its place. */
export interface LogFields {
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** Where a log ends. */
export interface LogEnd {
  /** Lines. */
  readonly entries: number;
  /** SHA-256 of the last line, its line end included; before the first entry: what the log is bound to. */
  readonly head: string;
  readonly bytes: number;
}

/** The end of a log without entries. */
export function emptyLog(boundTo = '0'.repeat(64)): LogEnd {
  return { entries: 0, head: boundTo, bytes: 0 };
}

/** One line, signed. Pure. */
function signedLine(fields: LogFields, at: LogEnd, time: string, key: KeyObject): string {
  const { kind, ...rest } = fields;
  const body = JSON.stringify({ kind, number: at.entries, previous: at.head, time, ...rest }).slice(0, -1);
  return `${body},"signature":"${sign(null, Buffer.from(body), key).toString('base64')}"}\n`;
}

/** The end after a line. Pure. */
function endAfter(at: LogEnd, line: string): LogEnd {
  return {
    entries: at.entries + 1,
    head: createHash('sha256').update(line).digest('hex'),
    bytes: at.bytes + Buffer.byteLength(line),
  };
}

/** Whether a log is there, and a whole line in it; a writer that was killed at once leaves less. */
export async function hasEntry(file: string): Promise<boolean> {
  const bytes = await readFile(file).catch((error: unknown) => {
    if (systemCodeOf(error) !== 'ENOENT') throw ioError(`reading ${file}`, error);
    return undefined;
  });
  return bytes?.includes('\n') === true;
}

/** Signs an entry, puts it at the log's end and waits until it is on the disk; the first one makes the file. */
export async function appendEntry(
  file: string,
  at: LogEnd,
  fields: LogFields,
  time: string,
  key: KeyObject,
): Promise<LogEnd> {
  const line = signedLine(fields, at, time, key);
  try {
    if (at.entries === 0 && !(await hasEntry(file))) await rm(file, { force: true });
    const handle = await open(file, at.entries === 0 ? 'wx' : 'r+');
    try {
      await handle.truncate(at.bytes);
      await writeWhole(handle, Buffer.from(line), at.bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw ioError(`appending to ${file}`, error);
  }
  return endAfter(at, line);
}

/** A disk that is nearly full takes a part, and says no only to the next one. */
async function writeWhole(handle: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}

/** A log of ours, as far as its lines are whole; `first` is the SHA-256 of the first one. */
export async function readLog(
  file: string,
): Promise<{ readonly entries: Record<string, unknown>[]; readonly first: string; end: LogEnd }> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw ioError(`reading ${file}`, error);
  }
  const lines = text.split('\n').slice(0, -1);
  const entries = lines.map((line) => parseEntry(line, file));
  const ends = (some: readonly string[]) => some.reduce((end, line) => endAfter(end, `${line}\n`), emptyLog());
  return { entries, first: ends(lines.slice(0, 1)).head, end: ends(lines) };
}

const TAIL_BYTES = 16 * 1024;

/** The last entry that is whole, without a look at those before it; undefined if there is none, or no log. */
export async function lastEntry(file: string): Promise<Record<string, unknown> | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    const { size } = await handle.stat();
    for (let bytes = TAIL_BYTES; ; bytes *= 4) {
      const tail = Buffer.alloc(Math.min(bytes, size));
      const { bytesRead } = await handle.read(tail, 0, tail.length, size - tail.length);
      const end = tail.subarray(0, bytesRead).lastIndexOf('\n');
      const begin = end <= 0 ? -1 : tail.lastIndexOf('\n', end - 1);
      if (begin < 0 && tail.length < size) continue;
      return end < 0 ? undefined : parseEntry(tail.toString('utf8', begin + 1, end), file);
    }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw ioError(`reading ${file}`, error);
  } finally {
    await handle?.close();
  }
}

function parseEntry(line: string, file: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new LabError('LAB_RUN_CORRUPT', `${file} holds a line that is no entry`, {
    next: './lemona audit says what was changed',
  });
}

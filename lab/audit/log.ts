// SPDX-License-Identifier: MIT
/**
 * Reading and checking of a signed log, by `docs/evidence.md` alone. Every byte of it is either signed or checked here:
 * a line is `BODY,"signature":"BASE64"}`, the signature is Ed25519 over BODY, and BODY names the line before.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

/** Something that an untouched run does not have. */
export interface Finding {
  /** From the run's folder; or the witness that was asked. */
  readonly file: string;
  /** Entry, line or offset; empty: the file as a whole. */
  readonly at: string;
  readonly what: string;
}

export interface Entry {
  /** SHA-256 of the line with its end. */
  readonly hash: string;
  readonly value: Readonly<Record<string, unknown>>;
  isSignedBy(key: KeyObject): boolean;
}

export interface SignedLog {
  readonly file: string;
  /** A line that is no entry stands as undefined. */
  readonly entries: readonly (Entry | undefined)[];
  /** Of each line. */
  readonly hashes: readonly string[];
  readonly findings: Finding[];
}

export const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** `,"signature":"` + 88 characters + `"}` */
const TAIL_BYTES = 104;
const TAIL = /^,"signature":"([A-Za-z0-9+/]{86}==)"\}$/;

/** Reads a log and checks what needs no key: whole lines, their numbers, and that each one names the one before. */
export async function readSignedLog(dir: string, file: string, boundTo: string | undefined): Promise<SignedLog> {
  const findings: Finding[] = [];
  const entries: (Entry | undefined)[] = [];
  const hashes: string[] = [];
  let bytes: Buffer;
  try {
    bytes = await readFile(path.join(dir, file));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT' && code !== 'EISDIR') throw error;
    findings.push({ file, at: '', what: 'is not there: it was removed, or never made' });
    return { file, entries, hashes, findings };
  }
  let from = 0;
  for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, from)) {
    const entry = parseLine(bytes.subarray(from, end + 1));
    const number = entries.length;
    const at = `entry ${number}`;
    if (typeof entry === 'string') findings.push({ file, at, what: entry });
    else {
      const previous = hashes[number - 1] ?? boundTo;
      if (entry.value.number !== number)
        findings.push({ file, at, what: `calls itself number ${String(entry.value.number)}` });
      if (previous !== undefined && entry.value.previous !== previous)
        findings.push({ file, at, what: 'does not follow the entry before it' });
    }
    entries.push(typeof entry === 'string' ? undefined : entry);
    hashes.push(sha256(bytes.subarray(from, end + 1)));
    from = end + 1;
  }
  const rest = bytes.length - from;
  if (rest > 0) {
    const what = `ends in ${rest} bytes that are no entry: its writer was killed, or it was cut or added to`;
    findings.push({ file, at: `offset ${from}`, what });
  }
  return { file, entries, hashes, findings };
}

/** One line with its end, or why it is no entry. */
function parseLine(line: Buffer): Entry | string {
  const bodyBytes = line.length - 1 - TAIL_BYTES;
  const tail = TAIL.exec(line.toString('latin1', Math.max(0, bodyBytes), line.length - 1));
  const signature = Buffer.from(tail?.[1] ?? '', 'base64');
  // Base64 has unused bits at its end: only one spelling counts, or a changed byte could mean the same.
  if (bodyBytes <= 0 || tail === null || signature.toString('base64') !== tail[1]) return 'has no signature at its end';
  const body = Buffer.from(line.subarray(0, bodyBytes));
  let value: unknown;
  try {
    value = JSON.parse(`${body.toString('utf8')}}`);
  } catch {
    return 'is not JSON';
  }
  if (typeof value !== 'object' || value === null) return 'is not an object';
  return {
    hash: sha256(line),
    value: value as Record<string, unknown>,
    isSignedBy: (key) => verify(null, body, key, signature),
  };
}

/** An Ed25519 public key from its base64 SubjectPublicKeyInfo. */
export function parseKey(spki: unknown): KeyObject | undefined {
  if (typeof spki !== 'string') return undefined;
  try {
    const key = createPublicKey({ key: Buffer.from(spki, 'base64'), format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'ed25519' ? key : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256 of a key's SubjectPublicKeyInfo: its name among people. */
export function fingerprint(spki: string): string {
  return sha256(Buffer.from(spki, 'base64'));
}

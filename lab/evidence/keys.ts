// SPDX-License-Identifier: MIT
/**
 * The lab's key: an Ed25519 pair, made on first use, that says which lab recorded a run. It signs the key of each run and
 * every custody entry. The private half never leaves the data folder.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';

export interface SigningKey {
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo (DER) in base64: what stands between the lines of a PEM file. */
  readonly spki: string;
}

/** A fresh key pair. */
export function newKey(): SigningKey {
  return signingKey(generateKeyPairSync('ed25519').privateKey);
}

function signingKey(privateKey: KeyObject): SigningKey {
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).toString('base64');
  return { privateKey, spki };
}

/** A public key as openssl reads it. */
export function publicPem(spki: string): string {
  return `-----BEGIN PUBLIC KEY-----\n${spki}\n-----END PUBLIC KEY-----\n`;
}

/** The key of this lab, `lab-key.pem` in the data folder; its public half lies beside it, for others. */
export async function labKey(dataDir: string): Promise<SigningKey> {
  const file = path.join(dataDir, 'lab-key.pem');
  try {
    const known = await readFile(file, 'utf8').catch((error: unknown) => {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
      return undefined;
    });
    const key = parseKey(known ?? (await makeKey(file)), file);
    const publicFile = path.join(dataDir, 'lab-key.pub.pem');
    if (known === undefined) await writeOnce(publicFile, publicPem(key.spki), 0o644);
    return key;
  } catch (error) {
    throw ioError(`the lab's key ${file}`, error);
  }
}

function parseKey(pem: string, file: string): SigningKey {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return signingKey(key);
  } catch {
    // Said below.
  }
  throw new LabError('LAB_ENV_IO', `${file} holds no Ed25519 private key`, {
    next: 'put the right one back, or move it away: a new one is another lab to every auditor',
  });
}

/** Two programs may do this at once: the first one's key is everybody's. */
async function makeKey(file: string): Promise<string> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const pem = newKey().privateKey.export({ type: 'pkcs8', format: 'pem' });
  await writeOnce(file, String(pem), 0o600);
  return readFile(file, 'utf8');
}

/** Puts a whole file in its place, unless there is one already. */
async function writeOnce(file: string, text: string, mode: number): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    const handle = await open(draft, 'wx', mode);
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    await link(draft, file).catch((error: unknown) => {
      if (systemCodeOf(error) !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { force: true });
  }
}

// SPDX-License-Identifier: MIT
/**
 * What a guest whose kernel crashed had not sent: sub-buffers found in its memory. `docs/wire.md` says how they are to
 * be recognised. The memory is that of a hostile guest, maybe: what does not make a good sub-buffer is left out, and
 * memory here stays below two windows and one sub-buffer.
 *
 * The memory comes as QEMU's `dump-guest-memory` writes it: an ELF core file with physical addresses.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { AT, KIND, SIZE } from '../abi/layout.js';
import { SUBBUF_MAX } from '../abi/records.js';
import { RELIC_MAGIC, RELIC_STATES, WIRE_LAYOUTS } from '../abi/wire.js';
import { ioError, LabError } from '../util/errors.js';
import { parseSubbuf, type SubbufHeader, subbufCrc } from './subbuf.js';
import { surveySubbuf, walkRecords } from './walk.js';

export interface Relic {
  readonly header: SubbufHeader;
  readonly bytes: Buffer;
}

interface Range {
  readonly address: number;
  readonly size: number;
  /** In the file. */
  readonly offset: number;
}

const PAGE = 4096;
const PAGES_MAX = SUBBUF_MAX / PAGE;
const WINDOW_BYTES = 8 * 1024 * 1024;
const PT_LOAD = 1;
const EHDR_BYTES = 64;
const PHDR_BYTES = 56;
/** QEMU writes one for each piece of memory: a handful. */
const PHDRS_MAX = 4096;

const layout = WIRE_LAYOUTS.get('lemona_relic');
const RELIC_BYTES = layout?.size ?? 0;
const OPEN = RELIC_STATES.find(({ name }) => name === 'OPEN')?.value;
const CLOSED = RELIC_STATES.find(({ name }) => name === 'CLOSED')?.value;

function at(name: string): number {
  const found = layout?.fields.find(({ field }) => field.name === name);
  if (found === undefined) throw new LabError('LAB_BUG', `lemona_relic has no field ${name}`);
  return found.offset;
}

const FIELD = {
  self: at('self'),
  state: at('state'),
  bootId: at('boot_id'),
  used: at('used'),
  pages: at('pages'),
  issued: at('issued'),
} as const;

class Memory {
  readonly ranges: readonly Range[];
  readonly #file: FileHandle;

  private constructor(file: FileHandle, ranges: readonly Range[]) {
    this.#file = file;
    this.ranges = ranges;
  }

  static async of(file: FileHandle, name: string): Promise<Memory> {
    const bad = (why: string) => new LabError('LAB_RUN_CORRUPT', `${name} is no memory dump of QEMU's: ${why}`);
    const head = Buffer.alloc(EHDR_BYTES);
    await file.read(head, 0, EHDR_BYTES, 0);
    if (head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2) throw bad('no 64-bit ELF file');
    const table = Number(head.readBigUInt64LE(32));
    const count = head.readUInt16LE(56);
    if (count > PHDRS_MAX || head.readUInt16LE(54) !== PHDR_BYTES) throw bad(`${count} program headers`);
    const ranges: Range[] = [];
    const phdr = Buffer.alloc(PHDR_BYTES);
    for (let index = 0; index < count; index++) {
      await file.read(phdr, 0, PHDR_BYTES, table + index * PHDR_BYTES);
      if (phdr.readUInt32LE(0) !== PT_LOAD) continue;
      ranges.push({
        offset: Number(phdr.readBigUInt64LE(8)),
        address: Number(phdr.readBigUInt64LE(24)),
        size: Number(phdr.readBigUInt64LE(32)),
      });
    }
    return new Memory(file, ranges);
  }

  /** Reads bytes of one range; fewer where it ends. */
  async window({ offset, size }: Range, from: number, length: number, into: Buffer): Promise<Buffer> {
    const { bytesRead } = await this.#file.read(into, 0, Math.max(0, Math.min(length, size - from)), offset + from);
    return into.subarray(0, bytesRead);
  }

  /** Reads at a physical address; undefined if it is not all there. */
  async read(address: number, length: number): Promise<Buffer | undefined> {
    const range = this.ranges.find((r) => address >= r.address && address + length <= r.address + r.size);
    if (range === undefined) return undefined;
    const bytes = await this.window(range, address - range.address, length, Buffer.alloc(length));
    return bytes.length === length ? bytes : undefined;
  }
}

/**
 * Puts the header right: it was being written, or its checksum was still to be made. Undefined: no sub-buffer.
 * @param issued on its stream, but for the records inside
 */
function restore(bytes: Buffer, issued: bigint): Relic | undefined {
  const H = AT.lemona_subbuf;
  if (bytes.length < SIZE.lemona_subbuf) return undefined;
  bytes.writeUInt32LE(bytes.length, H.length);
  bytes.writeUInt32LE(subbufCrc(bytes, 0, bytes.length), H.crc32c);
  const draft = parseSubbuf(bytes);
  if (!draft.ok) return undefined;
  let records = 0;
  let effects = 0;
  const broken = walkRecords(bytes, draft.header, (_buf, _off, _size, kind) => {
    records++;
    if (kind === KIND.EFFECT) effects++;
  });
  if (broken !== undefined || records === 0) return undefined;
  const { seqFirst, seqLast } = surveySubbuf(bytes, draft.header);
  bytes.writeUInt32LE(records, H.records);
  bytes.writeUInt32LE(effects, H.effects);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, issued + BigInt(records)), H.issued);
  bytes.writeBigUInt64LE(seqFirst, H.seq_first);
  bytes.writeBigUInt64LE(seqLast, H.seq_last);
  bytes.writeUInt32LE(subbufCrc(bytes, 0, bytes.length), H.crc32c);
  const check = parseSubbuf(bytes);
  if (!check.ok || surveySubbuf(bytes, check.header).problem !== undefined) return undefined;
  return { header: check.header, bytes };
}

async function relicAt(memory: Memory, address: number, head: Buffer): Promise<Relic | undefined> {
  const state = head.readUInt32LE(FIELD.state);
  const used = head.readUInt32LE(FIELD.used);
  const pages = head.readUInt32LE(FIELD.pages);
  if (Number(head.readBigUInt64LE(FIELD.self)) !== address) return undefined;
  if ((state !== OPEN && state !== CLOSED) || pages > PAGES_MAX || used > pages * PAGE) return undefined;
  const frames = await memory.read(address + RELIC_BYTES, pages * 8);
  if (frames === undefined) return undefined;
  const bytes = Buffer.alloc(used);
  for (let done = 0; done < used; done += PAGE) {
    const frame = Number(frames.readBigUInt64LE((done / PAGE) * 8));
    const page = await memory.read(frame * PAGE, Math.min(PAGE, used - done));
    if (page === undefined) return undefined;
    page.copy(bytes, done);
  }
  const relic = restore(bytes, head.readBigUInt64LE(FIELD.issued));
  return relic?.header.bootId === head.readBigUInt64LE(FIELD.bootId) ? relic : undefined;
}

/** Finds them in a memory dump, in no order. */
export async function* relicsOf(dump: string): AsyncGenerator<Relic, void, void> {
  const file = await open(dump, 'r').catch((error: unknown) => {
    throw ioError(`reading the memory dump ${dump}`, error);
  });
  try {
    const memory = await Memory.of(file, dump);
    const buffer = Buffer.alloc(WINDOW_BYTES + RELIC_BYTES);
    for (const range of memory.ranges) {
      for (let from = 0; from < range.size; from += WINDOW_BYTES) {
        const window = await memory.window(range, from, buffer.length, buffer);
        for (let hit = window.indexOf(RELIC_MAGIC, 0, 'latin1'); hit >= 0 && hit < WINDOW_BYTES; ) {
          const head = window.subarray(hit, hit + RELIC_BYTES);
          const address = range.address + from + hit;
          if (address % 8 === 0 && head.length === RELIC_BYTES) {
            const relic = await relicAt(memory, address, head);
            if (relic !== undefined) yield relic;
          }
          hit = window.indexOf(RELIC_MAGIC, hit + 1, 'latin1');
        }
      }
    }
  } finally {
    await file.close();
  }
}

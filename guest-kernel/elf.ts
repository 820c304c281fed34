// SPDX-License-Identifier: MIT
/**
 * The machine code of an ELF-64 little-endian file.
 *
 * Only what is compared: each section with SHF_EXECINSTR set and bytes in the
 * file, in the order of the section table. Validity: magic 7f 'ELF', class 2,
 * data 1; e_shoff u64 at 40; e_shentsize, e_shnum, e_shstrndx u16 at 58, 60,
 * 62; a section header is 64 B: sh_name u32 0, sh_type u32 4, sh_flags u64 8,
 * sh_offset u64 24, sh_size u64 32, sh_link u32 40. If e_shnum is 0 the count
 * is sh_size of section 0; if e_shstrndx is 0xffff the index is its sh_link.
 */
import { createHash } from 'node:crypto';

const SHF_EXECINSTR = 4n;
const SHT_NOBITS = 8;
const SHN_XINDEX = 0xffff;

export interface CodeSection {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** The executable sections; undefined if this is no ELF-64 little-endian file, or a broken one. */
export function codeSections(file: Buffer): CodeSection[] | undefined {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) return undefined;
  const tableAt = Number(file.readBigUInt64LE(40));
  const entrySize = file.readUInt16LE(58);
  if (tableAt === 0 || entrySize < 64 || tableAt + entrySize > file.length) return undefined;
  const header = (index: number) => file.subarray(tableAt + index * entrySize, tableAt + (index + 1) * entrySize);
  const count = file.readUInt16LE(60) || Number(header(0).readBigUInt64LE(32));
  const namesIndex = file.readUInt16LE(62) === SHN_XINDEX ? header(0).readUInt32LE(40) : file.readUInt16LE(62);
  if (namesIndex >= count || tableAt + count * entrySize > file.length) return undefined;
  const bytesOf = (section: Buffer) => {
    const at = Number(section.readBigUInt64LE(24));
    return file.subarray(at, at + Number(section.readBigUInt64LE(32)));
  };
  const names = bytesOf(header(namesIndex));
  const found: CodeSection[] = [];
  for (let index = 0; index < count; index++) {
    const section = header(index);
    if ((section.readBigUInt64LE(8) & SHF_EXECINSTR) === 0n || section.readUInt32LE(4) === SHT_NOBITS) continue;
    const nameAt = section.readUInt32LE(0);
    const name = names.subarray(nameAt, names.indexOf(0, nameAt)).toString('latin1');
    const bytes = bytesOf(section);
    // A cut file must not pass for a shorter one.
    if (bytes.length !== Number(section.readBigUInt64LE(32))) return undefined;
    found.push({ name, sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  }
  return found;
}

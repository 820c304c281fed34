// SPDX-License-Identifier: MIT
/**
 * Writes cpio archives in the `newc` format, which the kernel unpacks as its
 * initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * An entry is a header of 110 ASCII bytes (magic `070701`, then 13 numbers of
 * 8 hexadecimal digits), the name with its zero byte padded to 4, the data
 * padded to 4. The archive ends with an entry named `TRAILER!!!`.
 *
 * Nothing of the host gets in: owner 0, time 0, inode numbers count from 1.
 */
export interface CpioEntry {
  /** Without a leading slash; a folder comes before what is in it. */
  readonly name: string;
  /** Type and permission bits, as in `st_mode`. */
  readonly mode: number;
  /** Content of a file, or the target of a symbolic link. */
  readonly data?: Uint8Array;
  /** Of a device node. */
  readonly rdev?: { readonly major: number; readonly minor: number };
}

export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

const TRAILER = 'TRAILER!!!';

function padded(length: number): number {
  return (length + 3) & ~3;
}

function entryBytes(entry: CpioEntry, ino: number): Buffer {
  const name = Buffer.from(`${entry.name}\0`, 'utf8');
  const data = entry.data ?? new Uint8Array();
  const isFolder = (entry.mode & 0o170000) === S_IFDIR;
  const fields = [
    ino,
    entry.mode,
    0, // uid
    0, // gid
    isFolder ? 2 : 1, // nlink
    0, // mtime
    data.length,
    0, // device of the archive: major, minor
    0,
    entry.rdev?.major ?? 0,
    entry.rdev?.minor ?? 0,
    name.length,
    0, // checksum: unused in this format
  ];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0').toUpperCase()).join('')}`;
  const nameEnd = padded(header.length + name.length);
  const bytes = Buffer.alloc(nameEnd + padded(data.length));
  bytes.write(header, 0, 'ascii');
  name.copy(bytes, header.length);
  bytes.set(data, nameEnd);
  return bytes;
}

/** The archive: the same entries always give the same bytes. */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const seen = new Set<string>();
  for (const { name, data } of entries) {
    if (name === '' || name.startsWith('/') || name.includes('\0') || name === TRAILER) {
      throw new Error(`cpio: not a possible name: ${JSON.stringify(name)}`);
    }
    if (seen.has(name)) throw new Error(`cpio: '${name}' is there twice`);
    seen.add(name);
    if ((data?.length ?? 0) > 0xffffffff) throw new Error(`cpio: '${name}' is larger than the format allows`);
  }
  const parts = entries.map((entry, index) => entryBytes(entry, index + 1));
  parts.push(entryBytes({ name: TRAILER, mode: 0 }, 0));
  return Buffer.concat(parts);
}

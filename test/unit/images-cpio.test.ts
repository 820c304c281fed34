// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, writeCpio } from '../../images/cpio.js';
import { initramfsEntries } from '../../images/initramfs.js';

interface ReadEntry {
  readonly name: string;
  readonly mode: number;
  readonly rdev: string;
  readonly data: string;
}

/** An independent reader of the format, as the kernel's documentation describes it. */
function readCpio(bytes: Buffer): ReadEntry[] {
  const entries: ReadEntry[] = [];
  let at = 0;
  for (;;) {
    expect(at % 4, 'headers are aligned').to.equal(0);
    const header = bytes.subarray(at, at + 110).toString('ascii');
    expect(header).to.match(/^070701[0-9A-F]{104}$/);
    const field = (index: number) => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const nameEnd = at + 110 + field(11);
    expect(bytes[nameEnd - 1], 'the name ends with a zero byte').to.equal(0);
    const name = bytes.subarray(at + 110, nameEnd - 1).toString('utf8');
    const dataAt = (nameEnd + 3) & ~3;
    const dataEnd = dataAt + field(6);
    if (name === 'TRAILER!!!') {
      expect((dataEnd + 3) & ~3).to.equal(bytes.length);
      return entries;
    }
    for (const index of [2, 3, 5]) expect(field(index), 'owner and time').to.equal(0);
    const data = bytes.subarray(dataAt, dataEnd).toString('utf8');
    entries.push({ name, mode: field(1), rdev: `${field(9)}:${field(10)}`, data });
    at = (dataEnd + 3) & ~3;
  }
}

describe('images: cpio', () => {
  it('writes entries that an independent reader gives back, whatever their length', () => {
    for (let length = 0; length < 9; length++) {
      const data = 'x'.repeat(length);
      const archive = writeCpio([
        { name: 'd', mode: S_IFDIR | 0o755 },
        { name: `d/${'n'.repeat(length + 1)}`, mode: S_IFREG | 0o644, data: Buffer.from(data) },
        { name: 'l', mode: S_IFLNK | 0o777, data: Buffer.from('target') },
        { name: 'c', mode: S_IFCHR | 0o600, rdev: { major: 5, minor: 1 } },
      ]);
      expect(readCpio(archive)).to.deep.equal([
        { name: 'd', mode: S_IFDIR | 0o755, rdev: '0:0', data: '' },
        { name: `d/${'n'.repeat(length + 1)}`, mode: S_IFREG | 0o644, rdev: '0:0', data },
        { name: 'l', mode: S_IFLNK | 0o777, rdev: '0:0', data: 'target' },
        { name: 'c', mode: S_IFCHR | 0o600, rdev: '5:1', data: '' },
      ]);
    }
  });

  it('gives the same bytes each time', () => {
    const entries = [{ name: 'a', mode: S_IFREG | 0o644, data: Buffer.from('same') }];
    expect(writeCpio(entries).equals(writeCpio(entries))).to.equal(true);
  });

  it('refuses names that the kernel would take for something else', () => {
    for (const name of ['', '/abs', 'a\0b', 'TRAILER!!!']) {
      expect(() => writeCpio([{ name, mode: S_IFREG }]), JSON.stringify(name)).to.throw('not a possible name');
    }
    const twice = { name: 'a', mode: S_IFREG };
    expect(() => writeCpio([twice, twice])).to.throw("'a' is there twice");
  });

  it('makes an initramfs with the module only if there is one', () => {
    const names = (module: Uint8Array | null) => initramfsEntries(Buffer.from('elf'), module).map(({ name }) => name);
    expect(names(null)).to.deep.equal(['dev', 'proc', 'sys', 'sysroot', 'dev/console', 'init']);
    expect(names(Buffer.from('ko'))).to.deep.equal([...names(null), 'lemona.ko']);
  });
});

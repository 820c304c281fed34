// SPDX-License-Identifier: MIT
/** Suites that try a file system hard, one row each, for the image `suite`; marks are taken beside them at random. */
export interface Suite {
  readonly name: string;
  /** Run by bash in an empty folder; what fails at the beginning of a pipe ends it too. */
  readonly script: string;
  readonly memoryMiB?: number;
  /** Needs the part of the kernel's source that `kernelSubtree` packs, at /root/kernel.tar. */
  readonly needsKernelSource?: true;
}

const fio = (name: string, options: string): Suite => ({
  name: `fio with verification: ${name}`,
  script:
    `fio --name=job --directory=. --size=8m --bs=4k --rw=randwrite --verify=crc32c --numjobs=2 --randseed="$SEED" ` +
    `--minimal ${options} >fio.out && ! grep -i "verify:" fio.out`,
});

const stress = (name: string, options: string): Suite => ({
  name: `stress-ng: ${name}`,
  script: `stress-ng --temp-path . --seed "$SEED" --timeout 60s ${options} 2>&1 | tail -3`,
});

const ROWS: readonly Suite[] = [
  fio('psync', '--ioengine=psync'),
  fio('mmap', '--ioengine=mmap'),
  fio('libaio, direct', '--ioengine=libaio --iodepth=8 --direct=1'),
  fio('io_uring', '--ioengine=io_uring --iodepth=8'),
  fio('io_uring, direct, registered buffers', '--ioengine=io_uring --iodepth=8 --direct=1 --fixedbufs=1'),
  stress('files', '--hdd 2 --hdd-bytes 8m --dentry 1 --rename 1 --link 1 --symlink 1 --dir 1 --chmod 1 --xattr 1'),
  stress('mappings', '--mmap 1 --mmap-bytes 8m --mmap-file --msync 1 --msync-bytes 2m --mremap 1 --mremap-bytes 4m'),
  stress(
    'io_uring and holes',
    '--io-uring 2 --fallocate 1 --fallocate-bytes 8m --fpunch 1 --copy-file 1 --copy-file-bytes 128m',
  ),
  {
    name: 'dbench',
    script: 'dbench -D . -t 60 -c /usr/share/dbench/client.txt 2 >dbench.out; tail -1 dbench.out',
  },
  {
    name: 'PostgreSQL with pgbench',
    memoryMiB: 1024,
    script:
      'pg=$(echo /usr/lib/postgresql/*/bin); install -d -o postgres db; chmod 755 /root /root/work; ' +
      'run() { su postgres -s /bin/sh -c "cd /; $*"; }; ' +
      'run "$pg/initdb -D $PWD/db" >/dev/null; ' +
      `run "$pg/pg_ctl -D $PWD/db -w -o '-k /tmp -c listen_addresses=' start" >/dev/null; ` +
      'run "$pg/pgbench -h /tmp -i -s 1 postgres" 2>/dev/null; run "$pg/pgbench -h /tmp -c 4 -T 60 postgres" 2>&1 | grep -E "transactions|failed"; ' +
      'run "$pg/pg_ctl -D $PWD/db -m fast stop" >/dev/null',
  },
  {
    name: 'a kernel subtree build',
    memoryMiB: 1024,
    needsKernelSource: true,
    script: 'tar -xf /root/kernel.tar && make -s tinyconfig && make -s -j2 lib/ 2>&1 | tail -2',
  },
];

export const SUITES: readonly Suite[] = ROWS.map((row) => ({ ...row, script: `set -o pipefail; ${row.script}` }));

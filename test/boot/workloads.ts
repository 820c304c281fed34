// SPDX-License-Identifier: MIT
/** Real work for the debian guest, one row each; marks are taken beside it at random instants. */
export interface Workload {
  readonly name: string;
  /** Run by bash in an empty folder. */
  readonly script: string;
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'tar of a source tree and back',
    script:
      'tar -C /usr/include -cf tree.tar . && mkdir tree && tar -C tree -xf tree.tar && tar -C tree -cJf small.tar.xz linux && rm -r tree/linux',
  },
  {
    name: 'a git history with gc',
    script:
      'export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; git init -q .; ' +
      'for i in $(seq 25); do head -c 20000 /dev/urandom | base64 > f$((i % 6)); git add -A; git commit -qm "c$i"; done; ' +
      'git switch -qc side HEAD~3; echo x > x; git add x; git commit -qm x; git switch -q -; git merge -q --no-edit side; git gc -q --prune=now; git fsck',
  },
  {
    name: 'a gcc build',
    script:
      'for i in $(seq 12); do echo "#include <stdio.h>\nint f$i(int x) { return printf(\\"%d\\", x * $i); }" | sed "s/\\\\\\\\n/\\n/" > f$i.c; done; ' +
      'printf "all: p\\np: \\$(patsubst %%.c,%%.o,\\$(wildcard *.c))\\n\\tar rcs p \\$^\\n" > Makefile; make -j2 >/dev/null',
  },
  {
    name: 'SQLite with a rollback journal',
    script:
      'sqlite3 a.db "create table t(a integer primary key, b text)"; ' +
      'for i in $(seq 20); do sqlite3 a.db "begin; with recursive n(i) as (select 1 union all select i+1 from n where i<200) insert into t(b) select hex(randomblob(40)) from n; delete from t where a % 7 = $((i % 7)); commit;"; done; sqlite3 a.db vacuum',
  },
  {
    name: 'SQLite with WAL and mmap',
    script:
      'sqlite3 a.db "pragma journal_mode=wal; create table t(a integer primary key, b text)" >/dev/null; ' +
      'for i in $(seq 20); do sqlite3 a.db "pragma mmap_size=100000000; begin; with recursive n(i) as (select 1 union all select i+1 from n where i<200) insert into t(b) select hex(randomblob(40)) from n; update t set b = b || $i where a % 5 = 0; commit; pragma wal_checkpoint(truncate);" >/dev/null; done',
  },
  {
    name: 'LMDB',
    script:
      'mkdir db; for i in $(seq 8); do for k in $(seq 150); do echo "key$((RANDOM % 500))"; echo "value $i $k $RANDOM"; done | mdb_load -T db; done; mdb_copy -c db . && mdb_dump db >/dev/null',
  },
  {
    name: 'dpkg -i of a real package',
    script:
      'dpkg -i /root/package.deb >/dev/null && dpkg -L hello >/dev/null && dpkg -r hello >/dev/null && dpkg -i /root/package.deb >/dev/null',
  },
  {
    name: 'rsync',
    script:
      'rsync -aH /usr/include/linux/ a/; rsync -aHX --delete a/ b/; find a -name "*.h" -newermt 2000-01-01 | head -50 | xargs rm; rsync -a --delete --inplace a/ b/',
  },
  {
    name: '10,000 small files created, renamed and deleted at random',
    script:
      'awk -v seed="$SEED" \'BEGIN { srand(seed); for (i = 0; i < 10000; i++) { f = "f" i; printf "%d\\n", int(rand() * 1000) > f; close(f) } }\'; ' +
      'ls | shuf --random-source=<(yes "$SEED") | head -n 4000 | xargs -n 200 rm; ' +
      'mkdir d; ls | grep ^f | shuf --random-source=<(yes "$SEED$SEED") | head -n 2000 | xargs -n 200 mv -t d; ' +
      'for f in $(ls | grep ^f | head -n 200); do mv "$f" "r$f"; done',
  },
];

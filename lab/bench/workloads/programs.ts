// SPDX-License-Identifier: MIT
import type { Workload } from '../workload.js';

export const workload: Workload = {
  name: 'programs',
  about: 'what people run: SQLite, git, tar, LMDB',
  image: 'debian',
  memoryMiB: 512,
  script: (size) => {
    const rows = size === 'quick' ? 400 : 4_000;
    return `
cat >load.sql <<END
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, value REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
INSERT INTO t SELECT i, 'name ' || i, i * 1.5 FROM n;
CREATE INDEX t_name ON t (name);
UPDATE t SET value = value + 1 WHERE id % 7 = 0;
DELETE FROM t WHERE id % 11 = 0;
END
span sqlite ${rows} sqlite3 t.db '.read load.sql'
cp -r /usr/include/linux tree
export HOME=$PWD GIT_AUTHOR_DATE=@1700000000 GIT_COMMITTER_DATE=@1700000000
git config --global user.name bench
git config --global user.email bench@example.org
span git 1 sh -c 'git init -q tree && cd tree && git add . && git commit -qm all && git gc -q'
span tar 1 sh -c 'tar -cf tree.tar tree && mkdir out && tar -xf tree.tar -C out'
seq 1 ${rows} | awk '{ printf " %08x\\n %d\\n", $1, $1 * 3 }' >pairs
mkdir db
span lmdb ${rows} mdb_load -T -f pairs db
`;
  },
};

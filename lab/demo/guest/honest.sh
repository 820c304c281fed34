#!/bin/bash
# SPDX-License-Identifier: MIT
# Honest work: a git repository, a C program, SQLite under load, LMDB through mmap.
set -eu
here=$PWD
say() { printf '  %s\n' "$*"; }

say 'git: a repository with commits, a branch, a merge and gc'
export GIT_AUTHOR_NAME=Bob GIT_AUTHOR_EMAIL=bob@example.org
export GIT_COMMITTER_NAME=Bob GIT_COMMITTER_EMAIL=bob@example.org
mkdir -p /srv/project
cd /srv/project
git init -q -b main .
for n in 1 2 3 4 5 6; do
	mkdir -p "src/part$n"
	awk -v seed="$((SEED + n))" 'BEGIN {
		srand(seed)
		for (f = 0; f < 40; f++) printf "int value_%d(void) { return %d; }\n", f, int(rand() * 1000000)
	}' >"src/part$n/values.c"
	git add -A
	GIT_AUTHOR_DATE="@$((1767225600 + n * 60)) +0000" GIT_COMMITTER_DATE="@$((1767225600 + n * 60)) +0000" \
		git commit -q -m "part $n"
done
git switch -q -c fix HEAD~2
echo 'int fixed(void) { return 1; }' >src/fix.c
git add -A
git commit -q -m 'a fix'
git switch -q main
git merge -q --no-edit fix
git gc -q

say 'gcc: a program compiled and run'
mkdir -p /srv/report
cd /srv/report
cp "$here/report.c" .
gcc -O1 -Wall -o report report.c
awk -v seed="$SEED" 'BEGIN { srand(seed + 2); for (i = 0; i < 3000; i++) print int(rand() * 1000000) }' >numbers
./report <numbers >report.txt

say 'SQLite: orders in WAL mode with mmap, a reader beside the writer'
mkdir -p /srv/orders
cd /srv/orders
sqlite3 orders.db 'PRAGMA journal_mode=WAL; PRAGMA mmap_size=67108864;
	CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, cents INTEGER);
	CREATE INDEX by_customer ON orders (customer);' >/dev/null
awk -v seed="$SEED" 'BEGIN {
	srand(seed + 3)
	print "PRAGMA mmap_size=67108864;"
	for (t = 0; t < 20; t++) {
		print "BEGIN;"
		for (i = 0; i < 100; i++)
			printf "INSERT INTO orders (customer, cents) VALUES (\"c%d\", %d);\n", int(rand() * 200), int(rand() * 100000)
		printf "UPDATE orders SET cents = cents + 1 WHERE customer = \"c%d\";\n", int(rand() * 200)
		print "COMMIT;"
	}
}' | sqlite3 -cmd '.timeout 60000' orders.db >/dev/null &
writer=$!
for _ in 1 2 3 4 5; do
	sqlite3 -cmd '.timeout 60000' orders.db 'SELECT count(*), sum(cents) FROM orders;' >>totals.txt
done
wait "$writer"
sqlite3 -cmd '.timeout 60000' orders.db 'DELETE FROM orders WHERE cents < 5000; VACUUM;'

say 'LMDB: a ledger that stores through a writable mapping, two writers'
mkdir -p /srv/ledger/data
cd /srv/ledger
cp "$here/ledger.c" .
gcc -O1 -Wall -o ledger ledger.c -llmdb
./ledger data 400 "$SEED" &
first=$!
./ledger data 400 "$((SEED + 1))"
wait "$first"

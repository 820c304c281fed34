// SPDX-License-Identifier: MIT
// Writes entries to an LMDB database through a writable mapping (MDB_WRITEMAP):
// the kernel sees no write() of them. Usage: ledger FOLDER ENTRIES SEED
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#define PER_TRANSACTION 20
#define CHECK(call)                                                         \
	do {                                                                \
		int rc_ = (call);                                           \
		if (rc_) {                                                  \
			fprintf(stderr, "%s: %s\n", #call, mdb_strerror(rc_)); \
			exit(1);                                            \
		}                                                           \
	} while (0)

int main(int argc, char **argv)
{
	unsigned int seed;
	MDB_env *env;
	MDB_dbi dbi;
	int entries;

	if (argc != 4)
		return 2;
	entries = atoi(argv[2]);
	seed = (unsigned int)atoi(argv[3]);
	CHECK(mdb_env_create(&env));
	CHECK(mdb_env_set_mapsize(env, 4 << 20));
	CHECK(mdb_env_open(env, argv[1], MDB_WRITEMAP, 0644));
	for (int done = 0; done < entries;) {
		MDB_txn *txn;

		CHECK(mdb_txn_begin(env, NULL, 0, &txn));
		CHECK(mdb_dbi_open(txn, NULL, MDB_CREATE, &dbi));
		for (int i = 0; i < PER_TRANSACTION && done < entries; i++, done++) {
			char key[32], value[96];
			MDB_val k = { 0, key }, v = { 0, value };

			k.mv_size = (size_t)snprintf(key, sizeof(key), "%08x-%06d", rand_r(&seed), done);
			v.mv_size = (size_t)snprintf(value, sizeof(value), "account %d, %d cents", rand_r(&seed) % 500,
						     rand_r(&seed) % 1000000);
			CHECK(mdb_put(txn, dbi, &k, &v, 0));
		}
		CHECK(mdb_txn_commit(txn));
	}
	mdb_env_close(env);
	return 0;
}

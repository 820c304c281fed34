// SPDX-License-Identifier: MIT
/*
 * The thread that hashes what was appended: it reads the file behind the
 * writer, while the kernel still has it in memory. So the hash is of what is in
 * the file, and nothing is hashed that may be cut off again.
 */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "intake.h"

#define PIECE_BYTES (64 * 1024)

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	EVP_MD_CTX *hash;
	int file; /* -1: none */
	uint64_t hashed;
	uint64_t end;
	bool is_reading;
	bool has_failed;
} digest = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.file = -1,
};

static void *follow(void *unused)
{
	static uint8_t piece[PIECE_BYTES];

	(void)unused;
	pthread_mutex_lock(&digest.lock);
	for (;;) {
		size_t wanted = smaller(digest.end - digest.hashed, sizeof(piece));
		ssize_t got;

		if (digest.file < 0 || wanted == 0 || digest.has_failed) {
			pthread_cond_wait(&digest.changed, &digest.lock);
			continue;
		}
		digest.is_reading = true;
		pthread_mutex_unlock(&digest.lock);
		got = pread(digest.file, piece, wanted, (off_t)digest.hashed);
		if (got > 0 && !EVP_DigestUpdate(digest.hash, piece, (size_t)got))
			got = 0;
		pthread_mutex_lock(&digest.lock);
		digest.is_reading = false;
		if (got > 0)
			digest.hashed += (uint64_t)got;
		else
			digest.has_failed = true;
		pthread_cond_broadcast(&digest.changed);
	}
	return NULL;
}

/* The thread is between two pieces when it returns, and the lock is taken. */
static void pause_thread(void)
{
	pthread_mutex_lock(&digest.lock);
	while (digest.is_reading)
		pthread_cond_wait(&digest.changed, &digest.lock);
}

static void go_on(void)
{
	pthread_cond_broadcast(&digest.changed);
	pthread_mutex_unlock(&digest.lock);
}

void digest_begin(int file, uint64_t end)
{
	pthread_t thread;
	bool is_first = !digest.hash;

	if (is_first) {
		digest.hash = EVP_MD_CTX_new();
		if (!digest.hash || pthread_create(&thread, NULL, follow, NULL) != 0)
			abort();
	}
	pause_thread();
	digest.has_failed = !EVP_DigestInit_ex(digest.hash, EVP_sha256(), NULL);
	digest.file = file;
	digest.hashed = 0;
	digest.end = end;
	go_on();
}

void digest_reach(uint64_t end)
{
	pthread_mutex_lock(&digest.lock);
	digest.end = end;
	go_on();
}

bool digest_of(const void *extra, size_t length, uint8_t result[32])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	bool is_done;

	pause_thread();
	while (digest.hashed < digest.end && !digest.has_failed)
		pthread_cond_wait(&digest.changed, &digest.lock);
	is_done = copy && !digest.has_failed && EVP_MD_CTX_copy_ex(copy, digest.hash) &&
		  EVP_DigestUpdate(copy, extra, length) && EVP_DigestFinal_ex(copy, result, NULL);
	pthread_mutex_unlock(&digest.lock);
	EVP_MD_CTX_free(copy);
	return is_done;
}

void digest_leave(void)
{
	if (!digest.hash)
		return;
	pause_thread();
	digest.file = -1;
	go_on();
}

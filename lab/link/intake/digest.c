// SPDX-License-Identifier: MIT
/*
 * The thread that hashes what was appended: it reads the file behind the
 * writer, while the kernel still has it in memory. So the hash is of what is in
 * the file, and nothing is hashed that may be cut off again.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "intake.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct sha256x16 hash; /* of whole stripes */
	int file; /* -1: none */
	uint64_t end;
	bool has_thread;
	bool is_reading;
	bool has_failed;
} digest = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.file = -1,
};

/* Of whoever reads. */
static uint8_t stripe[SHA256X16_STRIPE];

/* Adds what stands behind; false: it cannot be read. */
static bool add_from_file(struct sha256x16 *hash, size_t length)
{
	for (size_t filled = 0; filled < length;) {
		ssize_t got = pread(digest.file, stripe + filled, length - filled,
				    (off_t)(hash->length + filled));

		if (got <= 0)
			return false;
		filled += (size_t)got;
	}
	sha256x16_add(hash, stripe, length);
	return true;
}

static bool has_stripe(void)
{
	return digest.file >= 0 && !digest.has_failed &&
	       digest.end - digest.hash.length >= sizeof(stripe);
}

static void *follow(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&digest.lock);
	for (;;) {
		bool is_added;

		if (!has_stripe()) {
			pthread_cond_wait(&digest.changed, &digest.lock);
			continue;
		}
		digest.is_reading = true;
		pthread_mutex_unlock(&digest.lock);
		is_added = add_from_file(&digest.hash, sizeof(stripe));
		pthread_mutex_lock(&digest.lock);
		digest.is_reading = false;
		digest.has_failed = !is_added;
		pthread_cond_broadcast(&digest.changed);
	}
	return NULL;
}

/* The thread is between two stripes when it returns, and the lock is taken. */
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

	if (!digest.has_thread && pthread_create(&thread, NULL, follow, NULL) != 0)
		abort();
	digest.has_thread = true;
	pause_thread();
	sha256x16_begin(&digest.hash);
	digest.has_failed = false;
	digest.file = file;
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
	struct sha256x16 copy;
	bool is_done;

	pause_thread();
	while (digest.is_reading || has_stripe())
		pthread_cond_wait(&digest.changed, &digest.lock);
	copy = digest.hash;
	is_done = !digest.has_failed && add_from_file(&copy, digest.end - copy.length);
	pthread_mutex_unlock(&digest.lock);
	if (is_done) {
		sha256x16_add(&copy, extra, length);
		sha256x16_end(&copy, result);
	}
	return is_done;
}

void digest_leave(void)
{
	if (!digest.has_thread)
		return;
	pause_thread();
	digest.file = -1;
	go_on();
}

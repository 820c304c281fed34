/* SPDX-License-Identifier: MIT */
/*
 * A span: what lies between two no-ops that the counter (lab/vm/plugins/counter.c)
 * knows. Spans follow one another and are told apart by their order alone.
 *
 * What the driver has buffered when the work ends is still to be sent, and that
 * is part of what recording costs: the span ends when it is out.
 *
 * Other recorders have no such call. With SPAN_SETTLES a span ends when the guest
 * has come to rest: then a recorder's process has worked off what it had. Before one
 * begins, and before what helps in it is started, span_settle() waits for the same.
 */
#ifndef LEMONA_BENCH_SPAN_H
#define LEMONA_BENCH_SPAN_H

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "lemona_abi.h"

/* Displacements are the letters LMNS and LMNE, little-endian. */
#define SPAN_BEGIN() asm volatile("nopl 0x534e4d4c(%%rax)" ::: "memory")
#define SPAN_END() asm volatile("nopl 0x454e4d4c(%%rax)" ::: "memory")

static int span_control = -1;
static struct timespec span_began;

#ifdef SPAN_SETTLES
#define SETTLE_MS 100
/* An idle guest has a few timers and interrupts. */
#define SETTLE_IDLE_MS 80
#define SETTLE_TRIES 600

static double span_idle_seconds(int uptime)
{
	char text[64] = "";
	double up, idle;

	if (pread(uptime, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "%lf %lf", &up, &idle) != 2) {
		perror("span: /proc/uptime");
		exit(1);
	}
	return idle;
}

/* Waits until the guest was idle for a while, and says when that while began. */
static inline struct timespec span_settle(void)
{
	const struct timespec wait = { .tv_nsec = SETTLE_MS * 1000000 };
	int uptime = open("/proc/uptime", O_RDONLY | O_CLOEXEC);
	struct timespec began;

	for (int i = 0; i < SETTLE_TRIES; i++) {
		double idle = span_idle_seconds(uptime);

		clock_gettime(CLOCK_MONOTONIC, &began);
		nanosleep(&wait, NULL);
		/* Of several processors' time, all are to be idle. */
		if (span_idle_seconds(uptime) - idle >= SETTLE_IDLE_MS / 1e3 * sysconf(_SC_NPROCESSORS_ONLN)) {
			close(uptime);
			return began;
		}
	}
	fprintf(stderr, "span: the guest does not come to rest\n");
	exit(1);
}
#endif

/*
 * The allocator's caches then hold what is in use and no more: which of their slabs
 * are half full differs from kernel to kernel, and is no part of the work. To be
 * called before span_settle(), for recorders see it.
 */
static inline void span_shrink_slabs(void)
{
	glob_t caches;

	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &caches) != 0) {
		fprintf(stderr, "span: no caches in /sys/kernel/slab\n");
		exit(1);
	}
	for (size_t i = 0; i < caches.gl_pathc; i++) {
		int shrink = open(caches.gl_pathv[i], O_WRONLY | O_CLOEXEC);

		if (shrink < 0 && errno == ENOENT)
			continue; /* gone meanwhile */
		if (shrink < 0 || write(shrink, "1", 1) != 1) {
			perror(caches.gl_pathv[i]);
			exit(1);
		}
		close(shrink);
	}
	globfree(&caches);
}

/* Before the first span: what the driver had buffered by then is no part of it. */
static inline void span_begin(void)
{
	if (span_control < 0)
		span_control = open("/dev/lemona", O_RDWR | O_CLOEXEC);
	if (span_control >= 0 && ioctl(span_control, LEMONA_IOC_DRAIN)) {
		perror("span: draining before it");
		exit(1);
	}
	clock_gettime(CLOCK_MONOTONIC, &span_began);
	SPAN_BEGIN();
}

/* Says the label, what was done and how long it took, as one line on stdout. */
static inline void span_end(const char *label, uint64_t units)
{
	struct timespec now;
	double seconds;

	if (span_control >= 0 && ioctl(span_control, LEMONA_IOC_DRAIN)) {
		perror("span: draining after it");
		exit(1);
	}
#ifdef SPAN_SETTLES
	now = span_settle();
	SPAN_END();
#else
	SPAN_END();
	clock_gettime(CLOCK_MONOTONIC, &now);
#endif
	seconds = (now.tv_sec - span_began.tv_sec) + (now.tv_nsec - span_began.tv_nsec) / 1e9;
	printf("span %s %llu %.9f\n", label, (unsigned long long)units, seconds);
	fflush(stdout);
}

#endif

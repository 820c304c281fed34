/* SPDX-License-Identifier: MIT */
/*
 * A span: what lies between two no-ops that the counter (lab/vm/plugins/counter.c)
 * knows. Spans follow one another and are told apart by their order alone.
 *
 * What the driver has buffered when the work ends is still to be sent, and that
 * is part of what recording costs: the span ends when it is out.
 */
#ifndef LEMONA_BENCH_SPAN_H
#define LEMONA_BENCH_SPAN_H

#include <fcntl.h>
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
	SPAN_END();
	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = (now.tv_sec - span_began.tv_sec) + (now.tv_nsec - span_began.tv_nsec) / 1e9;
	printf("span %s %llu %.9f\n", label, (unsigned long long)units, seconds);
	fflush(stdout);
}

#endif

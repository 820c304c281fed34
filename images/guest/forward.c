// SPDX-License-Identifier: MIT
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../../module/lemona_abi.h"
#include "forward.h"
#include "say.h"

/* Its deepest call is say(): half a KiB of line and libc's formatting. */
#define STACK_BYTES (128 * 1024)

static struct {
	int driver;
	int port;
	int error;
	sem_t ready;
	pthread_t thread;
	bool started; /* the thread must be joined before its stack is used again */
	_Atomic bool delivering;
	_Atomic bool over; /* the record has ended: what comes now is not sent */
	_Atomic bool running;
	_Atomic uint64_t bytes;
} fwd;

static char stack[STACK_BYTES] __attribute__((aligned(4096)));
static char buffer[LEMONA_SUBBUF_MAX] __attribute__((aligned(4096)));

/* Never gives up on a sub-buffer: a record lost here would be undeclared. */
static void deliver(const char *data, size_t len)
{
	int last = 0;

	while (len) {
		ssize_t n = write(fwd.port, data, len);

		if (n > 0) {
			data += n;
			len -= n;
			last = 0;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != last) {
			last = errno;
			say("forwarder: writing to lemona.trace fails, trying again: %s", strerror(last));
		}
		sleep_ms(20);
	}
}

static void *forward(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "lemona-forward");
	/* Otherwise each delivery would be recorded, and that be delivered, for ever. */
	if (ioctl(fwd.driver, LEMONA_IOC_EXEMPT)) {
		fwd.error = errno;
		sem_post(&fwd.ready);
		return NULL;
	}
	fwd.running = true;
	sem_post(&fwd.ready);
	for (;;) {
		ssize_t n = read(fwd.driver, buffer, sizeof(buffer));

		if (n > 0) {
			/* In this order: forward_end() sets the one, then looks at the other. */
			fwd.delivering = true;
			if (!fwd.over) {
				deliver(buffer, n);
				fwd.bytes += n;
			}
			fwd.delivering = false;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		say("forwarder: /dev/lemona ended: %s", n ? strerror(errno) : "end of file");
		break;
	}
	close(fwd.driver);
	close(fwd.port);
	fwd.running = false;
	return NULL;
}

int forward_start(int driver, int port)
{
	pthread_attr_t attr;
	int ret;

	if (fwd.running) {
		errno = EALREADY;
		return -1;
	}
	if (fwd.started)
		pthread_join(fwd.thread, NULL);
	fwd.started = false;
	fwd.driver = driver;
	fwd.port = port;
	fwd.error = 0;
	sem_init(&fwd.ready, 0, 0);
	pthread_attr_init(&attr);
	/* Our own stack: the default of 8 MiB would be locked into memory. */
	pthread_attr_setstack(&attr, stack, sizeof(stack));
	ret = pthread_create(&fwd.thread, &attr, forward, NULL);
	pthread_attr_destroy(&attr);
	if (ret) {
		errno = ret;
		return -1;
	}
	fwd.started = true;
	while (sem_wait(&fwd.ready) && errno == EINTR)
		;
	if (fwd.error) {
		errno = fwd.error;
		return -1;
	}
	return 0;
}

bool forward_running(void)
{
	return fwd.running;
}

uint64_t forward_end(uint64_t until_ms)
{
	fwd.over = true;
	while (fwd.delivering && now_ms() < until_ms)
		sleep_ms(1);
	return fwd.bytes;
}

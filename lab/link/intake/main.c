// SPDX-License-Identifier: MIT
/* Reads the socket until it is over, and then only to its end. */
#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "intake.h"

#define LENGTH_BYTES 2
#define CHUNKS_AT_ONCE 16

/* A message of Noise that is not whole yet stays here with its length. */
static uint8_t chunk[2 * (LENGTH_BYTES + LEMONA_WIRE_NOISE_MESSAGE_MAX)];
static size_t filled;
static uint32_t mode;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Opens the messages that are whole, and moves what is behind them to the front. */
static bool take_messages(void)
{
	size_t at = 0;

	while (filled - at >= LENGTH_BYTES) {
		size_t length = chunk[at] | (size_t)chunk[at + 1] << 8;
		uint8_t *message = chunk + at + LENGTH_BYTES;

		if (filled - at - LENGTH_BYTES < length)
			break;
		if (!cipher_open(message, length))
			return over(LEMONA_WIRE_TAMPERED, "a message was not authentic");
		if (!frames_take(message, length - LEMONA_WIRE_NOISE_TAG))
			return false;
		at += LENGTH_BYTES + length;
	}
	filled -= at;
	memmove(chunk, chunk + at, filled);
	return true;
}

static bool take_chunk(void)
{
	size_t length = filled;

	if (mode == LEMONA_WIRE_NOISE)
		return take_messages();
	filled = 0;
	return frames_take(chunk, length);
}

/* What is there now; false in *is_there: nothing. */
static bool read_socket(bool *is_there)
{
	ssize_t got = recv(SOCKET_FD, chunk + filled, sizeof(chunk) - filled, MSG_DONTWAIT);

	*is_there = got >= 0 || (errno != EAGAIN && errno != EINTR);
	if (!*is_there)
		return true;
	if (got < 0)
		return over(LEMONA_WIRE_OK, "reading the connection: %s", strerror(errno));
	if (got == 0)
		return over(LEMONA_WIRE_OK, "closed by the driver");
	filled += (size_t)got;
	received += (uint64_t)got;
	return take_chunk();
}

/* Waits for the driver or the server; silence is the driver's, while it is waited for. */
static bool wait_for_more(int64_t since_ms, uint32_t silence_ms)
{
	struct pollfd from[] = {
		{ .fd = SOCKET_FD, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	int64_t left_ms = since_ms + silence_ms - now_ms();

	say_now();
	if (poll(from, 2, left_ms > 0 ? (int)left_ms : 0) < 0)
		return errno == EINTR || over(LEMONA_WIRE_OK, "poll: %s", strerror(errno));
	if (from[1].revents)
		return obey();
	if (!from[0].revents && now_ms() - since_ms > silence_ms)
		return over(LEMONA_WIRE_OK, "nothing came for %g s", silence_ms / 1000.0);
	return true;
}

/* To the end. */
static void take_all(uint32_t silence_ms)
{
	int64_t since_ms = now_ms();
	bool goes_on = take_chunk();

	for (unsigned int chunks = 0; goes_on; chunks++) {
		bool is_there;

		goes_on = read_socket(&is_there);
		if (goes_on && is_there)
			since_ms = now_ms();
		/* While there is more the server is woken for some at a time. */
		if (goes_on && (!is_there || chunks % CHUNKS_AT_ONCE == 0))
			goes_on = wait_for_more(since_ms, silence_ms);
	}
}

/* To close a socket with bytes unread would reset it, and the server's last words with it. */
static void read_to_end(void)
{
	struct pollfd from[] = {
		{ .fd = SOCKET_FD, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = 0 },
	};

	while (poll(from, 2, -1) >= 0 || errno == EINTR) {
		ssize_t got = recv(SOCKET_FD, chunk, sizeof(chunk), MSG_DONTWAIT);

		if (from[1].revents || got == 0 ||
		    (got < 0 && errno != EAGAIN && errno != EINTR))
			break;
	}
}

int main(void)
{
	struct begin begin;

	/* It ends with the server, and not before: by the end of its orders. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	/* The configuration of the machine's OpenSSL has nothing to say to us. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	filled = sizeof(chunk);
	hear_begin(&begin, chunk, &filled);
	received = filled;
	mode = begin.mode;
	if (mode == LEMONA_WIRE_NOISE)
		cipher_begin(begin.key, begin.messages);
	explicit_bzero(begin.key, sizeof(begin.key));
	take_all(begin.silence_ms);
	segment_leave();
	say_end();
	read_to_end();
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The data path of a logging server, a process for each connection that has
 * shown a key: from the socket (descriptor 3) through the cipher into a segment
 * file. It is told what it may do on descriptor 0 and says what it did on 1;
 * every decision is the server's. lab/link/intake.ts is the other side, and
 * says the same of the messages.
 */

#ifndef LEMONA_INTAKE_H
#define LEMONA_INTAKE_H

#include <openssl/sha.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lemona_abi.h"
#include "lemona_wire.h"

#define SOCKET_FD 3

/* What the server orders: a struct order, then `length` bytes. */
enum order_type {
	ORDER_BEGIN = 1, /* first: struct begin, what is stored, bytes that came already */
	ORDER_LEASE = 2, /* struct lease, then the path of the file to append to */
	ORDER_DIGEST = 3, /* struct wanted, the path of a file, bytes to hash behind it */
	ORDER_LEAVE = 4, /* touches no file any more, and reads to the end */
};

struct order {
	uint32_t type;
	uint32_t length;
};

struct begin {
	uint32_t mode; /* LEMONA_WIRE_PLAIN or LEMONA_WIRE_NOISE */
	uint32_t cpus;
	uint32_t silence_ms; /* a driver that is silent so long is gone */
	uint32_t streams; /* struct stored behind it */
	uint64_t boot_id;
	uint64_t messages; /* that were opened with the key before */
	uint8_t key[32];
	uint32_t category; /* LEMONA_CATEGORY_* of what comes; 0: whole sub-buffers */
	uint32_t zero;
};

/* What is there of a stream. */
struct stored {
	uint32_t cpu;
	uint32_t zero;
	uint64_t next; /* sub-buffers of smaller numbers */
	uint64_t recorded; /* records in all that were before it */
};

struct lease {
	uint64_t position; /* where the next sub-buffer begins */
	uint64_t limit; /* the file's length at most, but for its first sub-buffer */
};

struct wanted {
	uint64_t end; /* where the file's last sub-buffer ends */
	uint32_t path_length;
	uint32_t zero;
};

/* What it says: a struct said, then `length` bytes. */
enum said_type {
	SAID_APPENDED = 1, /* a: number; b: CPU in the upper half, length; struct counts */
	SAID_FRAME = 2, /* another frame of type a: its body */
	SAID_WANT = 3, /* waits for a lease; b: length of the sub-buffer */
	SAID_DISK = 4, /* a: the errno of a write that it tries again, or 0 */
	SAID_DIGEST = 5, /* struct sha256x16's; nothing: it has not that file */
	SAID_END = 6, /* takes no more; a: LEMONA_WIRE_* to refuse with; struct used, why */
};

/* Of a stream, up to the end of a sub-buffer. */
struct counts {
	uint64_t recorded; /* records */
	uint64_t dropped; /* and those declared lost */
};

struct said {
	uint32_t type;
	uint32_t length;
	uint64_t bytes; /* of the socket, until now */
	uint64_t a;
	uint64_t b;
};

/* What this process has used, when it says that it takes no more. */
struct used {
	uint64_t cpu_us; /* of all threads, programs and kernel */
	uint64_t written; /* bytes, of which the disks were told */
	uint64_t peak; /* bytes of memory at most */
};

static inline size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* control.c */

/* Bytes that came from the socket. */
extern uint64_t received;

void say(enum said_type type, uint64_t a, uint64_t b, const void *bytes, uint32_t length);
/* Until then the server may have heard nothing. */
void say_now(void);
/* Reads ORDER_BEGIN; `more`, of *room bytes, takes what follows the streams. */
void hear_begin(struct begin *begin, uint8_t *more, size_t *room);
/* Reads one order, and obeys; false: it has to leave. Ends with the server. */
bool obey(void);

/* Ends the taking: why is kept for end(). Always false. */
bool over(enum lemona_wire_code status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Says why, and what it took. */
void say_end(void);

/* cipher.c */

void cipher_begin(const uint8_t key[32], uint64_t messages);
/* Opens a message where it lies; false: it is not authentic. */
bool cipher_open(uint8_t *bytes, size_t length);

/* frames.c */

void frames_begin(const struct begin *begin, const struct stored *stored);
/* Takes the next bytes of the stream of frames, until it is over. */
bool frames_take(const uint8_t *bytes, size_t length);

/* segment.c */

/* A lease came. */
bool segment_lease(const struct lease *lease, const char *path);
/* Waits until the next sub-buffer, of so many bytes, may be appended. */
bool segment_room(uint32_t length);
/* Writes at a place behind the last whole sub-buffer; waits while the disk is full. */
bool segment_write(const void *head, size_t head_length, const void *bytes, size_t length,
		   uint64_t offset);
/* A sub-buffer is whole. */
void segment_advance(uint32_t length);
/* Of a file up to `end`, and `extra` behind that; false: it has not appended so far to it. */
bool segment_digest(const char *path, uint64_t end, const void *extra, size_t length,
		    uint8_t digest[32]);
void segment_leave(void);

/* digest.c */

/* A thread hashes a file from its beginning, as far as it is told. */
void digest_begin(int file, uint64_t end);
void digest_reach(uint64_t end);
bool digest_of(const void *extra, size_t length, uint8_t digest[32]);
/* The file is looked at no more. */
void digest_leave(void);

/* sha256x16.c */

#define SHA256X16_STREAMS 16
#define SHA256X16_BLOCK 4096
#define SHA256X16_STRIPE (SHA256X16_STREAMS * SHA256X16_BLOCK)

struct sha256x16 {
	SHA256_CTX streams[SHA256X16_STREAMS];
	uint64_t length;
};

void sha256x16_begin(struct sha256x16 *hash);
/* Fast where whole stripes are added behind whole stripes. */
void sha256x16_add(struct sha256x16 *hash, const void *bytes, size_t length);
/* It is of no further use. */
void sha256x16_end(struct sha256x16 *hash, uint8_t digest[32]);

/* crc32c.c */

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);

#endif

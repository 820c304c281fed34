/* SPDX-License-Identifier: MIT */
/*
 * Frames on the port lemona.ctl, both ways: u32 payload length, u8 type,
 * payload; little-endian.
 *
 *   host to guest   R  u32 id, u8 flags (bit 0: stdin is piped), argv, each
 *                      string ended by a zero byte
 *                   I  u32 id, stdin bytes (none: end of file)
 *                   K  u32 id, u32 signal, for the whole process group
 *                   C  checkpoint: load the driver, record from mark `start` on
 *                   S  shut down: kill all, mark `end`, drain, Z, power off
 *                   Z  the host has all of the record
 *   guest to host   H  hello: lines key=value
 *                   O  u32 id, stdout bytes       E  the same of stderr
 *                   X  u32 id, s32 exit status (128 + signal if killed)
 *                   P  a problem, as text
 *                   Z  u64 bytes given to lemona.trace; power goes off when the
 *                      host answered Z, or 10 minutes later
 *
 * Nothing of a run follows its X. While a child does not take its stdin, the
 * port is not read: that is the back-pressure. While the host does not read
 * the port, children's pipes are not read.
 */
#ifndef LEMONA_GUEST_CTL_H
#define LEMONA_GUEST_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_HEADER 5
/* The longest argv the kernel takes by default is 2 MiB; stdin is sent in parts. */
#define CTL_PAYLOAD_MAX (1024 * 1024)

struct ctl_frame {
	uint8_t type;
	const uint8_t *data;
	size_t len;
};

void ctl_init(int fd);

/* The port is hung up while no host is connected. */
int ctl_fd(void);

/* Reads what is there. Returns 0, or -1 with errno. */
int ctl_fill(void);

/* The first whole frame, or false. It stays until ctl_consume(). */
bool ctl_peek(struct ctl_frame *frame);
void ctl_consume(void);

/* Room for a frame with that payload in the outgoing buffer. */
bool ctl_room(size_t payload);

/* Queue a frame; without room they wait until the port takes some. */
void ctl_send(uint8_t type, const void *data, size_t len);
void ctl_send_id(uint8_t type, uint32_t id, const void *data, size_t len);
void ctl_problem(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

bool ctl_pending(void);
/* Writes what the port takes. */
void ctl_flush(void);
/* Writes everything, for at most that long. */
void ctl_flush_all(unsigned int timeout_ms);

#endif

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A connection to a logging server: see docs/wire.md. */
#ifndef LEMONA_LINK_H
#define LEMONA_LINK_H

#include <linux/net.h>
#include <linux/socket.h>
#include <linux/wait.h>

#include "noise.h"

/* A message on the wire: its length, and the ciphertext with its tag */
#define LEMONA_MESSAGE_MAX	(2 + LEMONA_WIRE_NOISE_MESSAGE_MAX)

/**
 * struct lemona_link - a connection
 * @sock: its socket, or NULL
 * @noise: what is sent is encrypted
 * @send: keys of that direction
 * @receive: keys of the other one
 * @proof: what READY must show
 * @out: a message that is being filled, or was sealed and is being sent
 * @out_len: bytes in it
 * @out_done: of those, sent
 * @out_sealed: it takes no more
 * @in: what was received of a message
 * @in_len: its bytes
 * @frame: what was received of a frame
 * @frame_len: its bytes
 * @frame_max: room in @frame
 */
struct lemona_link {
	struct socket *sock;
	bool noise;
	struct lemona_cipher send;
	struct lemona_cipher receive;
	u8 proof[LEMONA_HASH_SIZE];
	u8 *out;
	u32 out_len;
	u32 out_done;
	bool out_sealed;
	u8 *in;
	u32 in_len;
	u8 *frame;
	u32 frame_len;
	u32 frame_max;
};

typedef int (*lemona_frame_fn)(void *arg, u16 type, const void *data, u32 len);

int lemona_status_error(u32 status);
int lemona_link_init(struct lemona_link *link, u32 frame_max);
void lemona_link_exit(struct lemona_link *link);
int lemona_link_open(struct lemona_link *link,
		     const struct sockaddr_storage *address,
		     const struct lemona_wire_hello *hello,
		     const u8 key[LEMONA_KEY_SIZE]);
void lemona_link_close(struct lemona_link *link);
u32 lemona_link_put(struct lemona_link *link, const void *data, u32 len);
void lemona_link_seal(struct lemona_link *link);
int lemona_link_flush(struct lemona_link *link);
int lemona_link_receive(struct lemona_link *link, lemona_frame_fn fn,
			void *arg);

#endif /* LEMONA_LINK_H */

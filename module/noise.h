/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The cryptography of the wire: see docs/wire.md. */
#ifndef LEMONA_NOISE_H
#define LEMONA_NOISE_H

#include <crypto/chacha20poly1305.h>
#include <crypto/curve25519.h>
#include <linux/types.h>
#include <linux/uio.h>

#include "lemona_wire.h"

#define LEMONA_KEY_SIZE		32
#define LEMONA_HASH_SIZE	32
/* A handshake message without a payload */
#define LEMONA_HANDSHAKE_SIZE	(CURVE25519_KEY_SIZE + LEMONA_WIRE_NOISE_TAG)

/**
 * struct lemona_cipher - one direction under its keys
 * @key: now
 * @nonce: of the next message
 */
struct lemona_cipher {
	u8 key[CHACHA20POLY1305_KEY_SIZE];
	u64 nonce;
};

/**
 * struct lemona_handshake - an initiator's
 * @chain: the chaining key
 * @hash: of all that was said
 * @secret: the ephemeral key
 * @cipher: of the payloads
 */
struct lemona_handshake {
	u8 chain[LEMONA_HASH_SIZE];
	u8 hash[LEMONA_HASH_SIZE];
	u8 secret[CURVE25519_KEY_SIZE];
	struct lemona_cipher cipher;
};

void lemona_hmac(u8 out[LEMONA_HASH_SIZE], const u8 key[LEMONA_KEY_SIZE],
		 const struct kvec *parts, unsigned int count);
int lemona_handshake_begin(struct lemona_handshake *hs,
			   const struct kvec *prologue, unsigned int count,
			   const u8 psk[LEMONA_KEY_SIZE],
			   const u8 secret[CURVE25519_KEY_SIZE],
			   const void *payload, size_t len, u8 *message);
int lemona_handshake_end(struct lemona_handshake *hs, const u8 *message,
			 size_t len, void *payload,
			 struct lemona_cipher *send,
			 struct lemona_cipher *receive);
void lemona_encrypt(struct lemona_cipher *cipher, u8 *dst, const u8 *src,
		    size_t len);
bool lemona_decrypt(struct lemona_cipher *cipher, u8 *dst, const u8 *src,
		    size_t len);

#endif /* LEMONA_NOISE_H */

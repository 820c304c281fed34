// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s, the initiator's side, on the kernel's
 * own primitives:
 *
 *	-> psk, e
 *	<- e, ee
 *
 * Names and order of the steps are those of the Noise Protocol Framework,
 * revision 34, sections 5 and 9.
 */
#include <crypto/blake2s.h>
#include <crypto/chacha20poly1305.h>
#include <crypto/curve25519.h>
#include <linux/string.h>

#include "noise.h"

/**
 * lemona_hmac - HMAC-BLAKE2s
 * @out: the code
 * @key: of 32 bytes
 * @parts: the message
 * @count: of its parts
 */
void lemona_hmac(u8 out[LEMONA_HASH_SIZE], const u8 key[LEMONA_KEY_SIZE],
		 const struct kvec *parts, unsigned int count)
{
	u8 pad[BLAKE2S_BLOCK_SIZE];
	u8 inner[LEMONA_HASH_SIZE];
	struct blake2s_state state;
	unsigned int i;

	for (i = 0; i < sizeof(pad); i++)
		pad[i] = 0x36 ^ (i < LEMONA_KEY_SIZE ? key[i] : 0);
	blake2s_init(&state, LEMONA_HASH_SIZE);
	blake2s_update(&state, pad, sizeof(pad));
	for (i = 0; i < count; i++)
		blake2s_update(&state, parts[i].iov_base, parts[i].iov_len);
	blake2s_final(&state, inner);

	for (i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	blake2s_init(&state, LEMONA_HASH_SIZE);
	blake2s_update(&state, pad, sizeof(pad));
	blake2s_update(&state, inner, sizeof(inner));
	blake2s_final(&state, out);
	memzero_explicit(pad, sizeof(pad));
	memzero_explicit(inner, sizeof(inner));
}

/* HKDF(): @first replaces the chaining key, @second and @third may be NULL */
static void hkdf(u8 chain[LEMONA_HASH_SIZE], const u8 *input, size_t len,
		 u8 *second, u8 *third)
{
	u8 out[3][LEMONA_HASH_SIZE + 1];
	u8 temp[LEMONA_HASH_SIZE];
	struct kvec part = { (void *)input, len };

	lemona_hmac(temp, chain, &part, 1);
	part = (struct kvec){ "\x01", 1 };
	lemona_hmac(out[0], temp, &part, 1);
	out[0][LEMONA_HASH_SIZE] = 2;
	part = (struct kvec){ out[0], LEMONA_HASH_SIZE + 1 };
	lemona_hmac(out[1], temp, &part, 1);
	if (third) {
		out[1][LEMONA_HASH_SIZE] = 3;
		part = (struct kvec){ out[1], LEMONA_HASH_SIZE + 1 };
		lemona_hmac(out[2], temp, &part, 1);
		memcpy(third, out[2], LEMONA_HASH_SIZE);
	}
	memcpy(chain, out[0], LEMONA_HASH_SIZE);
	memcpy(second, out[1], LEMONA_HASH_SIZE);
	memzero_explicit(out, sizeof(out));
	memzero_explicit(temp, sizeof(temp));
}

static void mix_hash(struct lemona_handshake *hs, const struct kvec *parts,
		     unsigned int count)
{
	struct blake2s_state state;
	unsigned int i;

	blake2s_init(&state, LEMONA_HASH_SIZE);
	blake2s_update(&state, hs->hash, LEMONA_HASH_SIZE);
	for (i = 0; i < count; i++)
		blake2s_update(&state, parts[i].iov_base, parts[i].iov_len);
	blake2s_final(&state, hs->hash);
}

static void mix_one(struct lemona_handshake *hs, const void *data, size_t len)
{
	struct kvec part = { (void *)data, len };

	mix_hash(hs, &part, 1);
}

static void mix_key(struct lemona_handshake *hs, const u8 *input)
{
	hkdf(hs->chain, input, LEMONA_HASH_SIZE, hs->cipher.key, NULL);
	hs->cipher.nonce = 0;
}

static void mix_key_and_hash(struct lemona_handshake *hs, const u8 *psk)
{
	u8 hash[LEMONA_HASH_SIZE];

	hkdf(hs->chain, psk, LEMONA_KEY_SIZE, hash, hs->cipher.key);
	hs->cipher.nonce = 0;
	mix_one(hs, hash, sizeof(hash));
	memzero_explicit(hash, sizeof(hash));
}

/**
 * lemona_handshake_begin - write the first message
 * @hs: set, for lemona_handshake_end()
 * @prologue: what both sides must have seen alike
 * @count: of its parts
 * @psk: the machine's key
 * @secret: an ephemeral key
 * @payload: to send, encrypted under @psk and no secret of the other side
 * @len: its bytes
 * @message: LEMONA_HANDSHAKE_SIZE + @len bytes
 *
 * Return: 0, or -EKEYREJECTED if the ephemeral key is of no use.
 */
int lemona_handshake_begin(struct lemona_handshake *hs,
			   const struct kvec *prologue, unsigned int count,
			   const u8 psk[LEMONA_KEY_SIZE],
			   const u8 secret[CURVE25519_KEY_SIZE],
			   const void *payload, size_t len, u8 *message)
{
	u8 *sealed = message + CURVE25519_KEY_SIZE;

	memcpy(hs->secret, secret, sizeof(hs->secret));
	blake2s(hs->hash, LEMONA_WIRE_NOISE_PROTOCOL, NULL, LEMONA_HASH_SIZE,
		strlen(LEMONA_WIRE_NOISE_PROTOCOL), 0);
	memcpy(hs->chain, hs->hash, sizeof(hs->chain));
	mix_hash(hs, prologue, count);

	mix_key_and_hash(hs, psk);
	if (!curve25519_generate_public(message, hs->secret))
		return -EKEYREJECTED;
	mix_one(hs, message, CURVE25519_KEY_SIZE);
	mix_key(hs, message);
	chacha20poly1305_encrypt(sealed, payload, len, hs->hash,
				 sizeof(hs->hash), hs->cipher.nonce++,
				 hs->cipher.key);
	mix_one(hs, sealed, len + LEMONA_WIRE_NOISE_TAG);
	return 0;
}

/**
 * lemona_handshake_end - read the second message
 * @hs: of lemona_handshake_begin(); wiped
 * @message: LEMONA_HANDSHAKE_SIZE bytes and the encrypted payload
 * @len: of it all
 * @payload: set to @len - LEMONA_HANDSHAKE_SIZE bytes
 * @send: set, for lemona_encrypt()
 * @receive: set, for lemona_decrypt()
 *
 * Return: 0, or -EBADMSG if the other side has not the same key, or did not see
 * the same prologue.
 */
int lemona_handshake_end(struct lemona_handshake *hs, const u8 *message,
			 size_t len, void *payload,
			 struct lemona_cipher *send,
			 struct lemona_cipher *receive)
{
	const u8 *sealed = message + CURVE25519_KEY_SIZE;
	u8 shared[CURVE25519_KEY_SIZE];
	int error = -EBADMSG;

	if (len < LEMONA_HANDSHAKE_SIZE)
		goto out;
	len -= CURVE25519_KEY_SIZE;
	mix_one(hs, message, CURVE25519_KEY_SIZE);
	mix_key(hs, message);
	if (!curve25519(shared, hs->secret, message))
		goto out;
	mix_key(hs, shared);
	if (!chacha20poly1305_decrypt(payload, sealed, len, hs->hash,
				      sizeof(hs->hash), hs->cipher.nonce,
				      hs->cipher.key))
		goto out;
	/* Split() */
	hkdf(hs->chain, NULL, 0, receive->key, NULL);
	memcpy(send->key, hs->chain, sizeof(send->key));
	send->nonce = 0;
	receive->nonce = 0;
	error = 0;
out:
	memzero_explicit(shared, sizeof(shared));
	memzero_explicit(hs, sizeof(*hs));
	return error;
}

/* REKEY(), after every LEMONA_WIRE_REKEY_MESSAGES messages */
static void next_message(struct lemona_cipher *cipher)
{
	static const u8 zeros[CHACHA20POLY1305_KEY_SIZE];
	u8 out[CHACHA20POLY1305_KEY_SIZE + CHACHA20POLY1305_AUTHTAG_SIZE];

	cipher->nonce++;
	if (cipher->nonce % LEMONA_WIRE_REKEY_MESSAGES)
		return;
	chacha20poly1305_encrypt(out, zeros, sizeof(zeros), NULL, 0, U64_MAX,
				 cipher->key);
	memcpy(cipher->key, out, sizeof(cipher->key));
	memzero_explicit(out, sizeof(out));
}

/**
 * lemona_encrypt - encrypt a transport message
 * @cipher: of the direction
 * @dst: @len + LEMONA_WIRE_NOISE_TAG bytes; may be @src
 * @src: the message
 * @len: its bytes
 */
void lemona_encrypt(struct lemona_cipher *cipher, u8 *dst, const u8 *src,
		    size_t len)
{
	chacha20poly1305_encrypt(dst, src, len, NULL, 0, cipher->nonce,
				 cipher->key);
	next_message(cipher);
}

/**
 * lemona_decrypt - decrypt a transport message
 * @cipher: of the direction
 * @dst: @len - LEMONA_WIRE_NOISE_TAG bytes; may be @src
 * @src: the message and its tag
 * @len: of both
 *
 * Return: whether it is authentic and the next one.
 */
bool lemona_decrypt(struct lemona_cipher *cipher, u8 *dst, const u8 *src,
		    size_t len)
{
	if (len < LEMONA_WIRE_NOISE_TAG ||
	    !chacha20poly1305_decrypt(dst, src, len, NULL, 0, cipher->nonce,
				      cipher->key))
		return false;
	next_message(cipher);
	return true;
}

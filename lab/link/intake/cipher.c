// SPDX-License-Identifier: MIT
/* Transport messages of Noise: ChaCha20-Poly1305 of OpenSSL, and REKEY. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "intake.h"

#define NONCE_BYTES 12

static EVP_CIPHER_CTX *context;
static uint64_t opened;

static void demand(int is_done)
{
	if (!is_done)
		abort();
}

/* 4 zeros, then the number. */
static void set_nonce(uint64_t number)
{
	uint8_t nonce[NONCE_BYTES] = { 0 };

	memcpy(nonce + 4, &number, sizeof(number));
	demand(EVP_DecryptInit_ex(context, NULL, NULL, NULL, nonce));
}

void cipher_begin(const uint8_t key[32], uint64_t messages)
{
	context = EVP_CIPHER_CTX_new();
	demand(context &&
	       EVP_DecryptInit_ex(context, EVP_chacha20_poly1305(), NULL, key, NULL));
	opened = messages;
}

/*
 * The key becomes the first 32 bytes of its own encryption of zeros: of a
 * stream cipher, what it decrypts them to.
 */
static void renew(void)
{
	static const uint8_t zeros[32];
	uint8_t key[32];
	int length;

	set_nonce(UINT64_MAX);
	demand(EVP_DecryptUpdate(context, key, &length, zeros, sizeof(zeros)));
	demand(EVP_DecryptInit_ex(context, NULL, NULL, key, NULL));
	explicit_bzero(key, sizeof(key));
}

bool cipher_open(uint8_t *bytes, size_t length)
{
	int plain = (int)length - (int)LEMONA_WIRE_NOISE_TAG;
	int done;

	if (plain < 0)
		return false;
	set_nonce(opened++);
	demand(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, LEMONA_WIRE_NOISE_TAG,
				   bytes + plain));
	if (plain > 0)
		demand(EVP_DecryptUpdate(context, bytes, &done, bytes, plain));
	if (EVP_DecryptFinal_ex(context, bytes, &done) <= 0)
		return false;
	if (opened % LEMONA_WIRE_REKEY_MESSAGES == 0)
		renew();
	return true;
}

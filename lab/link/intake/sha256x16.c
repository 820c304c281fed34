// SPDX-License-Identifier: MIT
/*
 * SHA-256 in sixteen streams, as docs/format.md says: blocks of 4096 bytes are
 * dealt to them in turn. What a processor with AVX-512 does to a word of one
 * stream it does to that of all sixteen, in the same time.
 */
#define OPENSSL_API_COMPAT 0x10100000L
#include <string.h>

#include "intake.h"

#define STREAMS SHA256X16_STREAMS
#define BLOCK_BYTES SHA256X16_BLOCK
#define STRIPE_BYTES SHA256X16_STRIPE

/* What SHA-256 itself takes at a time. */
#define STEP_BYTES 64

static const char name[] = "lemona sha256 x16 4096\n";

#if defined(__x86_64__) && !defined(LEMONA_PORTABLE)
/* A word of each stream. */
typedef uint32_t words __attribute__((vector_size(4 * STREAMS)));
typedef words unaligned_words __attribute__((aligned(1)));

static const uint32_t round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define ROTATED(x, n) ((x) >> (n) | (x) << (32 - (n)))

/*
 * The next step of each stream: of sixteen rows, one a stream, it makes sixteen
 * columns, one a word. Each pass deals the rows' upper half between their lower
 * half, as one shuffles cards; after four every word is where it belongs.
 */
__attribute__((target("avx512f"), always_inline))
static inline void load_words(words w[16], const uint8_t *at)
{
	const words low = { 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23 };
	const words high = { 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };

#pragma GCC unroll 16
	for (int i = 0; i < 16; i++)
		w[i] = *(const unaligned_words *)(at + i * BLOCK_BYTES);
#pragma GCC unroll 4
	for (int pass = 0; pass < 4; pass++) {
		words dealt[16];

#pragma GCC unroll 8
		for (int i = 0; i < 8; i++) {
			dealt[2 * i] = __builtin_shuffle(w[i], w[i + 8], low);
			dealt[2 * i + 1] = __builtin_shuffle(w[i], w[i + 8], high);
		}
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
			w[i] = dealt[i];
	}
	/* SHA-256 reads the first byte of a word as its highest. */
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++)
		w[i] = (ROTATED(w[i], 8) & 0xff00ff00) | (ROTATED(w[i], 24) & 0x00ff00ff);
}

__attribute__((target("avx512f")))
static void add_step(words state[8], const uint8_t *at)
{
	words a = state[0], b = state[1], c = state[2], d = state[3];
	words e = state[4], f = state[5], g = state[6], h = state[7];
	words w[16];

	load_words(w, at);
#pragma GCC unroll 4
	for (int sixteen = 0; sixteen < 64; sixteen += 16) {
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			words early = w[(i + 1) % 16];
			words late = w[(i + 14) % 16];
			words first, second;

			if (sixteen > 0)
				w[i] += w[(i + 9) % 16] +
					(ROTATED(early, 7) ^ ROTATED(early, 18) ^ early >> 3) +
					(ROTATED(late, 17) ^ ROTATED(late, 19) ^ late >> 10);
			first = h + (ROTATED(e, 6) ^ ROTATED(e, 11) ^ ROTATED(e, 25)) +
				(g ^ (e & (f ^ g))) + round_constants[sixteen + i] + w[i];
			second = (ROTATED(a, 2) ^ ROTATED(a, 13) ^ ROTATED(a, 22)) +
				 ((a & b) | (c & (a | b)));
			h = g;
			g = f;
			f = e;
			e = d + first;
			d = c;
			c = b;
			b = a;
			a = first + second;
		}
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
	state[5] += f;
	state[6] += g;
	state[7] += h;
}

__attribute__((target("avx512f")))
static void add_stripe_at_once(struct sha256x16 *hash, const uint8_t *bytes)
{
	words state[8];

	for (int stream = 0; stream < STREAMS; stream++) {
		for (int i = 0; i < 8; i++)
			state[i][stream] = hash->streams[stream].h[i];
	}
	for (size_t at = 0; at < BLOCK_BYTES; at += STEP_BYTES)
		add_step(state, bytes + at);
	for (int stream = 0; stream < STREAMS; stream++) {
		SHA256_CTX *one = &hash->streams[stream];
		uint64_t bits = ((uint64_t)one->Nh << 32 | one->Nl) + 8 * BLOCK_BYTES;

		for (int i = 0; i < 8; i++)
			one->h[i] = state[i][stream];
		one->Nl = (uint32_t)bits;
		one->Nh = (uint32_t)(bits >> 32);
	}
}
#endif

static void add_stripe(struct sha256x16 *hash, const uint8_t *bytes)
{
#if defined(__x86_64__) && !defined(LEMONA_PORTABLE)
	if (__builtin_cpu_supports("avx512f")) {
		add_stripe_at_once(hash, bytes);
		return;
	}
#endif
	for (int stream = 0; stream < STREAMS; stream++)
		SHA256_Update(&hash->streams[stream], bytes + stream * BLOCK_BYTES, BLOCK_BYTES);
}

void sha256x16_begin(struct sha256x16 *hash)
{
	hash->length = 0;
	for (int stream = 0; stream < STREAMS; stream++)
		SHA256_Init(&hash->streams[stream]);
}

void sha256x16_add(struct sha256x16 *hash, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	while (length > 0) {
		size_t block = hash->length / BLOCK_BYTES;
		size_t step = smaller(BLOCK_BYTES - hash->length % BLOCK_BYTES, length);

		if (hash->length % STRIPE_BYTES == 0 && length >= STRIPE_BYTES) {
			step = STRIPE_BYTES;
			add_stripe(hash, at);
		} else {
			SHA256_Update(&hash->streams[block % STREAMS], at, step);
		}
		hash->length += step;
		at += step;
		length -= step;
	}
}

void sha256x16_end(struct sha256x16 *hash, uint8_t digest[32])
{
	SHA256_CTX all;

	SHA256_Init(&all);
	SHA256_Update(&all, name, strlen(name));
	for (int stream = 0; stream < STREAMS; stream++) {
		uint8_t one[32];

		SHA256_Final(one, &hash->streams[stream]);
		SHA256_Update(&all, one, sizeof(one));
	}
	SHA256_Final(digest, &all);
}

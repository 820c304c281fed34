// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The driver's self-test, with lemona.selftest=1: the cryptography of the wire
 * against published vectors, and what it must refuse. The vector of the pattern
 * is that of the cacophony project, whose vectors the Noise wiki names
 * (vectors/cacophony.txt, haskell-cryptography/cacophony at 36c1e5c3a799).
 */
#include <linux/kernel.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timex.h>

#include "lemona.h"
#include "link.h"

static const u8 prologue[] __initconst = "John Galt";
static const u8 psk[] __initconst = "This is my Austrian perspective!";

static const u8 initiator_secret[] __initconst = {
	0x89, 0x3e, 0x28, 0xb9, 0xdc, 0x6c, 0xa8, 0xd6,
	0x11, 0xab, 0x66, 0x47, 0x54, 0xb8, 0xce, 0xb7,
	0xba, 0xc5, 0x11, 0x73, 0x49, 0xa4, 0x43, 0x9a,
	0x6b, 0x05, 0x69, 0xda, 0x97, 0x7c, 0x46, 0x4a,
};

struct noise_message {
	const char *payload;
	u8 message[64];
};

/* Of the initiator the even ones, of the responder the odd ones */
static const struct noise_message vector[] __initconst = {
	{
		"Ludwig von Mises",
		{
			0xca, 0x35, 0xde, 0xf5, 0xae, 0x56, 0xce, 0xc3,
			0x3d, 0xc2, 0x03, 0x67, 0x31, 0xab, 0x14, 0x89,
			0x6b, 0xc4, 0xc7, 0x5d, 0xbb, 0x07, 0xa6, 0x1f,
			0x87, 0x9f, 0x8e, 0x3a, 0xfa, 0x4c, 0x79, 0x44,
			0xfd, 0xa9, 0x36, 0xbe, 0xc3, 0x5a, 0x8a, 0xdf,
			0xdf, 0xf1, 0x98, 0x38, 0x6f, 0x7d, 0x54, 0x75,
			0x88, 0x08, 0x97, 0xed, 0xaa, 0xf7, 0x49, 0x53,
			0x14, 0xc9, 0x90, 0x95, 0xa2, 0xe4, 0xd6, 0x6a,
		}
	},
	{
		"Murray Rothbard",
		{
			0x95, 0xeb, 0xc6, 0x0d, 0x2b, 0x1f, 0xa6, 0x72,
			0xc1, 0xf4, 0x6a, 0x8a, 0xa2, 0x65, 0xef, 0x51,
			0xbf, 0xe3, 0x8e, 0x7c, 0xcb, 0x39, 0xec, 0x5b,
			0xe3, 0x40, 0x69, 0xf1, 0x44, 0x80, 0x88, 0x43,
			0x4c, 0xd2, 0xa3, 0x71, 0x99, 0x3b, 0xa4, 0x1e,
			0xa1, 0x14, 0x48, 0x02, 0x4f, 0xca, 0x32, 0x76,
			0x6b, 0x16, 0x91, 0x83, 0xc9, 0xe6, 0x91, 0xa7,
			0xa4, 0x33, 0x27, 0x9d, 0xa7, 0xe7, 0x29,
		}
	},
	{
		"F. A. Hayek",
		{
			0xbc, 0x44, 0xda, 0x30, 0x3a, 0xe0, 0xbe, 0xb0,
			0x80, 0x75, 0xfc, 0x4e, 0xb4, 0xe5, 0x82, 0x35,
			0xc6, 0x7c, 0x2d, 0x1f, 0x53, 0xa4, 0xf2, 0xff,
			0xf0, 0xbc, 0xa7,
		}
	},
	{
		"Carl Menger",
		{
			0x41, 0x6d, 0x1a, 0xf8, 0x3e, 0x9f, 0xa6, 0x96,
			0x6c, 0xe4, 0xe8, 0x71, 0x15, 0x6b, 0x13, 0x1a,
			0xa9, 0xbd, 0x7e, 0x9a, 0x1d, 0x6f, 0x87, 0x94,
			0xf4, 0x87, 0x2a,
		}
	},
	{
		"Jean-Baptiste Say",
		{
			0x8a, 0x7d, 0x81, 0xb7, 0x7b, 0xcc, 0x6c, 0x07,
			0x2f, 0x2b, 0x80, 0x7d, 0xa0, 0x66, 0xef, 0xba,
			0x6b, 0x5f, 0xab, 0x9e, 0xdf, 0x71, 0xa7, 0xfa,
			0xce, 0xb2, 0xc8, 0x45, 0x4b, 0x0c, 0xfe, 0xf6,
			0x08,
		}
	},
	{
		"Eugen B\366hm von Bawerk",
		{
			0x1e, 0x2e, 0xe0, 0x10, 0xf7, 0x28, 0x94, 0x82,
			0x4a, 0x25, 0xa8, 0x67, 0x66, 0x4f, 0xf2, 0x98,
			0xf2, 0x54, 0x8a, 0x14, 0x5d, 0xc4, 0xe9, 0xd2,
			0x7b, 0x1c, 0xad, 0x83, 0xf3, 0x2f, 0xa7, 0xc5,
			0x4d, 0x69, 0xdc, 0x32, 0x79,
		}
	},
};

#define TAG	LEMONA_WIRE_NOISE_TAG

/* Ciphers after the handshake of the vector; its payloads are checked */
static bool __init shake(const u8 *key, size_t prologue_len,
			 struct lemona_cipher *send,
			 struct lemona_cipher *receive)
{
	struct kvec part = { (void *)prologue, prologue_len };
	struct lemona_handshake hs;
	u8 message[64], payload[64];
	size_t len = strlen(vector[0].payload);

	if (lemona_handshake_begin(&hs, &part, 1, key, initiator_secret,
				   vector[0].payload, len, message))
		return false;
	if (key == psk && prologue_len == strlen(prologue) &&
	    memcmp(message, vector[0].message, LEMONA_HANDSHAKE_SIZE + len))
		return false;
	len = strlen(vector[1].payload);
	return !lemona_handshake_end(&hs, vector[1].message,
				     LEMONA_HANDSHAKE_SIZE + len, payload,
				     send, receive) &&
	       !memcmp(payload, vector[1].payload, len);
}

static bool __init encrypts(struct lemona_cipher *send, int i)
{
	size_t len = strlen(vector[i].payload);
	u8 out[64];

	lemona_encrypt(send, out, vector[i].payload, len);
	return !memcmp(out, vector[i].message, len + TAG);
}

static bool __init decrypts(struct lemona_cipher *receive, int i)
{
	size_t len = strlen(vector[i].payload);
	u8 out[64];

	return lemona_decrypt(receive, out, vector[i].message, len + TAG) &&
	       !memcmp(out, vector[i].payload, len);
}

static bool __init test_vector(void)
{
	struct lemona_cipher send, receive;

	return shake(psk, strlen(prologue), &send, &receive) &&
	       encrypts(&send, 2) && decrypts(&receive, 3) &&
	       encrypts(&send, 4) && decrypts(&receive, 5);
}

static bool __init test_wrong_key(void)
{
	struct lemona_cipher send, receive;
	u8 key[LEMONA_KEY_SIZE];

	memcpy(key, psk, sizeof(key));
	key[LEMONA_KEY_SIZE - 1] ^= 1;
	return !shake(key, strlen(prologue), &send, &receive);
}

static bool __init test_other_prologue(void)
{
	struct lemona_cipher send, receive;

	return !shake(psk, strlen(prologue) - 1, &send, &receive);
}

/* Each bit of a message, and that a refusal does no harm */
static bool __init test_altered(void)
{
	size_t len = strlen(vector[3].payload) + TAG;
	struct lemona_cipher send, receive;
	u8 message[64], out[64];
	size_t bit;

	if (!shake(psk, strlen(prologue), &send, &receive))
		return false;
	memcpy(message, vector[3].message, len);
	for (bit = 0; bit < len * 8; bit++) {
		message[bit / 8] ^= BIT(bit % 8);
		if (lemona_decrypt(&receive, out, message, len))
			return false;
		message[bit / 8] ^= BIT(bit % 8);
	}
	return !lemona_decrypt(&receive, out, message, len - 1) &&
	       !lemona_decrypt(&receive, out, message, TAG - 1) &&
	       decrypts(&receive, 3);
}

static bool __init test_replayed(void)
{
	struct lemona_cipher send, receive;

	return shake(psk, strlen(prologue), &send, &receive) &&
	       decrypts(&receive, 3) && !decrypts(&receive, 3);
}

static bool __init test_reordered(void)
{
	struct lemona_cipher send, receive;

	return shake(psk, strlen(prologue), &send, &receive) &&
	       !decrypts(&receive, 5) && decrypts(&receive, 3);
}

/* Both sides go on with new keys */
static bool __init test_rekeyed(void)
{
	struct lemona_cipher send, receive;
	u8 old[LEMONA_KEY_SIZE], message[8 + TAG];
	int i;

	if (!shake(psk, strlen(prologue), &send, &receive))
		return false;
	receive = send;
	memcpy(old, send.key, sizeof(old));
	for (i = 0; i <= LEMONA_WIRE_REKEY_MESSAGES; i++) {
		bool is_old = !memcmp(old, send.key, sizeof(old));
		bool is_early = i < LEMONA_WIRE_REKEY_MESSAGES;

		if (is_old != is_early)
			return false;
		memset(message, i, 8);
		lemona_encrypt(&send, message, message, 8);
		if (!lemona_decrypt(&receive, message, message,
				    sizeof(message)) ||
		    message[7] != (u8)i)
			return false;
	}
	return true;
}

struct noise_test {
	const char *name;
	bool (*test)(void);
};

static const struct noise_test tests[] __initconst = {
	{ "the vector of the pattern", test_vector },
	{ "another key is refused", test_wrong_key },
	{ "another prologue is refused", test_other_prologue },
	{ "an altered message is refused", test_altered },
	{ "a replayed message is refused", test_replayed },
	{ "a reordered message is refused", test_reordered },
	{ "both sides renew their keys", test_rekeyed },
};

/* Cycles that the link takes to make messages of @data, without sending them */
static u64 __init cost_of_link(struct lemona_link *link, const u8 *data)
{
	u64 start = get_cycles();
	u32 done = 0;

	while (done < SZ_1M) {
		done += lemona_link_put(link, data + done, SZ_1M - done);
		lemona_link_seal(link);
		link->out_len = 0;
		link->out_sealed = false;
	}
	return get_cycles() - start;
}

/*
 * Print what encryption costs, and what the kernel's own primitive alone does.
 * Under QEMU's -icount a cycle is an instruction.
 */
static void __init print_cost(void)
{
	struct lemona_link link = { .noise = true };
	u8 *data = kvzalloc(SZ_1M + LEMONA_WIRE_NOISE_TAG, GFP_KERNEL);
	u64 linked, alone;

	if (data && !lemona_link_init(&link, PAGE_SIZE)) {
		/* once to warm up */
		cost_of_link(&link, data);
		linked = cost_of_link(&link, data);
		alone = get_cycles();
		chacha20poly1305_encrypt(data, data, SZ_1M, NULL, 0, 0,
					 link.send.key);
		alone = get_cycles() - alone;
		pr_info("lemona: self-test: encrypting a MiB takes %llu cycles, ChaCha20-Poly1305 alone %llu\n",
			linked, alone);
		lemona_link_exit(&link);
	}
	kvfree(data);
}

/**
 * lemona_selftest - test what can be tested without the other side
 *
 * Return: 0, or -EINVAL if a test failed.
 */
int __init lemona_selftest(void)
{
	unsigned int passed = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		if (tests[i].test())
			passed++;
		else
			pr_err("lemona: self-test %d failed: %s\n", i + 1,
			       tests[i].name);
	}
	print_cost();
	pr_info("lemona: self-test: %u of %zu passed\n", passed,
		ARRAY_SIZE(tests));
	return passed == ARRAY_SIZE(tests) ? 0 : -EINVAL;
}

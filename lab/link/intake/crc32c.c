// SPDX-License-Identifier: MIT
/* CRC-32C, by the processor's instruction where there is one. */
#include <string.h>

#include "intake.h"

#define POLYNOMIAL 0x82f63b78u /* of Castagnoli, reflected */

static uint32_t by_table(uint32_t crc, const uint8_t *at, size_t length)
{
	static uint32_t table[256];

	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
			table[i] = value;
		}
	}
	while (length--)
		crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
	return crc;
}

#if defined(__x86_64__) && !defined(LEMONA_PORTABLE)
/*
 * The instruction takes three cycles, and one can be begun in each: three lanes
 * are summed side by side. What the bytes of a lane behind it make of a sum is
 * linear in its bits, so it is looked up, a byte of the sum at a time.
 */
#define LANE_WORDS 512

static uint32_t behind_lane[4][256];

__attribute__((target("sse4.2")))
static uint64_t step(uint64_t crc, const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return __builtin_ia32_crc32di(crc, word);
}

__attribute__((target("sse4.2")))
static void prepare(void)
{
	for (int place = 0; place < 4; place++) {
		for (int bit = 0; bit < 8; bit++) {
			uint64_t crc = 1u << (8 * place + bit);

			for (int i = 0; i < LANE_WORDS; i++)
				crc = __builtin_ia32_crc32di(crc, 0);
			for (int i = 0; i < 1 << bit; i++)
				behind_lane[place][i | 1 << bit] = behind_lane[place][i] ^ (uint32_t)crc;
		}
	}
}

static uint64_t put_behind(uint64_t crc)
{
	return behind_lane[0][crc & 0xff] ^ behind_lane[1][crc >> 8 & 0xff] ^
	       behind_lane[2][crc >> 16 & 0xff] ^ behind_lane[3][crc >> 24 & 0xff];
}

__attribute__((target("sse4.2")))
static uint32_t by_instruction(uint32_t start, const uint8_t *at, size_t length)
{
	const size_t lane = LANE_WORDS * sizeof(uint64_t);
	uint64_t crc = start;

	if (!behind_lane[0][1])
		prepare();
	for (; length >= 3 * lane; length -= 3 * lane, at += 2 * lane) {
		uint64_t second = 0;
		uint64_t third = 0;

		for (int i = 0; i < LANE_WORDS; i++, at += sizeof(uint64_t)) {
			crc = step(crc, at);
			second = step(second, at + lane);
			third = step(third, at + 2 * lane);
		}
		crc = put_behind(put_behind(crc) ^ second) ^ third;
	}
	for (; length >= sizeof(uint64_t); length -= sizeof(uint64_t), at += sizeof(uint64_t))
		crc = step(crc, at);
	start = (uint32_t)crc;
	while (length--)
		start = __builtin_ia32_crc32qi(start, *at++);
	return start;
}
#endif

/* Goes on with the checksum of the bytes before; 0 before the first. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t length)
{
#if defined(__x86_64__) && !defined(LEMONA_PORTABLE)
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_instruction(~crc, bytes, length);
#endif
	return ~by_table(~crc, bytes, length);
}

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef LEMONA_CAPTURE_H
#define LEMONA_CAPTURE_H

#include <linux/types.h>

#define LEMONA_STRUCT_MAX	2048	/* bytes kept of structures */
#define LEMONA_SOCKADDR_MAX	128	/* bytes kept of a socket address */

/* @when of a call that is entered */
#define LEMONA_WHEN_ENTRY	1

struct io_uring_sqe;
struct lemona_sysdesc;

/**
 * struct lemona_call - a system call being recorded
 * @desc: its row in the table
 * @args: its arguments, once something of it is captured
 * @ret: its result, at exit
 * @nr: its number
 * @abi: LEMONA_F_ABI_*
 * @base: number of the first argument in TLVs
 * @when: which of the flags IN, OUT, POSITIVE and INTR hold now
 * @compat: addresses in its memory have 32 bits
 * @cut: not everything found room
 * @scratch: TLVs, or NULL
 * @len: bytes of them
 */
struct lemona_call {
	const struct lemona_sysdesc *desc;
	unsigned long args[6];
	long ret;
	long nr;
	u16 abi;
	u16 base;
	u8 when;
	bool compat;
	bool cut;
	void *scratch;
	size_t len;
};

/* call.c */
long lemona_lost_calls(bool ia32);
void lemona_call_request(struct lemona_call *call,
			 const struct io_uring_sqe *sqe);
u16 lemona_request_about(unsigned int opcode);

/* capture.c */
int lemona_capture_init(void);
void lemona_capture_exit(void);
void lemona_scratch_put(void *scratch);
void lemona_put_bytes(struct lemona_call *call, u16 type, u16 arg,
		      unsigned long addr, size_t true_len, size_t limit);
bool lemona_put_copy(struct lemona_call *call, u16 type, u16 arg,
		     const void *data, size_t len);
void lemona_put_fault(struct lemona_call *call, u16 type, u16 arg);
void lemona_put_string(struct lemona_call *call, u16 arg, unsigned long addr);
void lemona_put_strv(struct lemona_call *call, u16 arg, unsigned long addr);
void lemona_put_iovec(struct lemona_call *call, u16 arg, unsigned long addr,
		      size_t count, size_t total, size_t limit);
void lemona_put_message(struct lemona_call *call, u16 arg, unsigned long addr,
			size_t size, bool data, size_t total);
void lemona_put_messages(struct lemona_call *call, u16 arg, unsigned long addr,
			 size_t count, bool sent);
void lemona_put_pointed(struct lemona_call *call, u16 arg, unsigned long addr,
			size_t size, size_t count);
size_t lemona_message_size(const struct lemona_call *call);
size_t lemona_snap_limit(void);

/** lemona_call_end - let go of a call's scratch memory */
static __always_inline void lemona_call_end(struct lemona_call *call)
{
	if (call->scratch)
		lemona_scratch_put(call->scratch);
}

#endif /* LEMONA_CAPTURE_H */

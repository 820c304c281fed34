// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Copies of user memory, as TLVs in the scratch memory of a call.
 *
 * They are made with faults allowed, before the record is reserved. Another
 * thread may change user memory before the kernel looks at it again, so they
 * are flagged UNSTABLE; what really reached a file is in the effect plane. A
 * copy that faults keeps what could be read.
 */
#include <linux/compat.h>
#include <linux/percpu.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/unaligned.h>
#include <net/compat.h>

#include "capture.h"
#include "lemona.h"

#define SCRATCH_SIZE	SZ_16K
#define STRV_MAX	SZ_4K	/* bytes kept of a string vector */
#define CONTROL_MAX	SZ_512	/* bytes kept of ancillary data */
#define MSGS_MAX	8	/* messages kept of sendmmsg() and recvmmsg() */

static struct kmem_cache *scratch_cache;
/* One that was used and is kept for the next call on this CPU */
static DEFINE_PER_CPU(void *, spare_scratch);

static void *scratch_get(void)
{
	return this_cpu_xchg(spare_scratch, NULL) ?:
	       kmem_cache_alloc(scratch_cache, GFP_KERNEL);
}

void lemona_scratch_put(void *scratch)
{
	if (this_cpu_cmpxchg(spare_scratch, NULL, scratch))
		kmem_cache_free(scratch_cache, scratch);
}

/* Begin a TLV with room for up to @want bytes; @room is set to what there is. */
static __always_inline struct lemona_tlv *
tlv_begin(struct lemona_call *call, u16 type, u16 arg, size_t want,
	  size_t *room)
{
	struct lemona_tlv *tlv;

	if (!call->scratch)
		call->scratch = scratch_get();
	if (!call->scratch ||
	    call->len + sizeof(*tlv) + 8 > SCRATCH_SIZE) {
		call->cut = true;
		return NULL;
	}
	*room = min(want, SCRATCH_SIZE - call->len - sizeof(*tlv) - 8);
	tlv = call->scratch + call->len;
	tlv->type = type;
	tlv->arg = call->base + arg;
	tlv->flags = LEMONA_TLV_F_UNSTABLE;
	return tlv;
}

static void tlv_end(struct lemona_call *call, struct lemona_tlv *tlv,
		    size_t len, size_t true_len)
{
	tlv->len = len;
	tlv->true_len = min_t(size_t, true_len, U32_MAX);
	if (len < true_len)
		tlv->flags |= LEMONA_TLV_F_TRUNCATED;
	/* up to the next multiple of 8; tlv_begin() has left room for it */
	put_unaligned(0ULL, (u64 *)((void *)(tlv + 1) + len));
	call->len += sizeof(*tlv) + ALIGN(len, 8);
}

/* Copy into a TLV at @at. Return: the bytes copied; fewer set FAULT. */
static __always_inline size_t
tlv_copy(struct lemona_tlv *tlv, size_t at, unsigned long addr, size_t len)
{
	size_t left = copy_from_user((void *)(tlv + 1) + at,
				     (void __user *)addr, len);

	if (left)
		tlv->flags |= LEMONA_TLV_F_FAULT;
	return len - left;
}

/**
 * lemona_put_bytes - memory of a known length
 * @call: the call
 * @type: LEMONA_TLV_*
 * @arg: index of the argument
 * @addr: where it is
 * @true_len: its bytes
 * @limit: how many are kept
 */
void lemona_put_bytes(struct lemona_call *call, u16 type, u16 arg,
		      unsigned long addr, size_t true_len, size_t limit)
{
	struct lemona_tlv *tlv;
	size_t len;

	tlv = tlv_begin(call, type, arg, min(true_len, limit), &len);
	if (tlv)
		tlv_end(call, tlv, tlv_copy(tlv, 0, addr, len), true_len);
}

/**
 * lemona_put_copy - memory that is not the caller's own
 * @call: the call
 * @type: LEMONA_TLV_*
 * @arg: index of the argument
 * @data: where it is
 * @len: its bytes, all of which are kept
 *
 * Return: whether there was room.
 */
bool lemona_put_copy(struct lemona_call *call, u16 type, u16 arg,
		     const void *data, size_t len)
{
	struct lemona_tlv *tlv;
	size_t room;

	tlv = tlv_begin(call, type, arg, len, &room);
	if (!tlv || room < len)
		return false;
	memcpy(tlv + 1, data, len);
	tlv_end(call, tlv, len, len);
	return true;
}

/** lemona_put_fault - memory whose length could not be read */
void lemona_put_fault(struct lemona_call *call, u16 type, u16 arg)
{
	struct lemona_tlv *tlv;
	size_t len;

	tlv = tlv_begin(call, type, arg, 0, &len);
	if (!tlv)
		return;
	tlv->flags |= LEMONA_TLV_F_FAULT;
	tlv_end(call, tlv, 0, 0);
}

/** lemona_put_string - a NUL-terminated string */
void lemona_put_string(struct lemona_call *call, u16 arg, unsigned long addr)
{
	struct lemona_tlv *tlv;
	size_t room;
	long len;

	tlv = tlv_begin(call, LEMONA_TLV_PATH, arg, PATH_MAX, &room);
	if (!tlv)
		return;
	len = strncpy_from_user((char *)(tlv + 1), (const char __user *)addr,
				room);
	if (len < 0) {
		tlv->flags |= LEMONA_TLV_F_FAULT;
		len = 0;
	}
	tlv_end(call, tlv, len, len == room ? len + 1 : len);
}

/* Read the address at @index of an array of addresses. */
static int get_address(const struct lemona_call *call, unsigned long array,
		       size_t index, unsigned long *addr)
{
	compat_uptr_t narrow;
	int error;

	if (!call->compat)
		return get_user(*addr, (unsigned long __user *)array + index);
	error = get_user(narrow, (compat_uptr_t __user *)array + index);
	*addr = narrow;
	return error;
}

/** lemona_put_strv - a vector of strings, ended by a null address */
void lemona_put_strv(struct lemona_call *call, u16 arg, unsigned long addr)
{
	struct lemona_tlv *tlv;
	size_t room, i, len = 0;
	unsigned long str;
	bool cut = false;
	long n;

	tlv = tlv_begin(call, LEMONA_TLV_STRV, arg, STRV_MAX, &room);
	if (!tlv)
		return;
	for (i = 0; ; i++) {
		if (get_address(call, addr, i, &str)) {
			tlv->flags |= LEMONA_TLV_F_FAULT;
			break;
		}
		if (!str)
			break;
		n = strncpy_from_user((char *)(tlv + 1) + len,
				      (const char __user *)str, room - len);
		if (n < 0) {
			tlv->flags |= LEMONA_TLV_F_FAULT;
			break;
		}
		/* the string and its end, if it fitted */
		len = min(len + n + 1, room);
		cut = len == room;
		if (cut)
			break;
	}
	tlv_end(call, tlv, len, cut ? len + 1 : len);
}

static int get_iovec(const struct lemona_call *call, unsigned long addr,
		     size_t index, unsigned long *base, size_t *len)
{
	int error = get_address(call, addr, 2 * index, base);

	return error ?: get_address(call, addr, 2 * index + 1, len);
}

/**
 * lemona_put_iovec - gather bytes
 * @call: the call
 * @arg: index of the argument
 * @addr: of the iovec
 * @count: its entries
 * @total: how many bytes it holds at most
 * @limit: how many are kept
 */
void lemona_put_iovec(struct lemona_call *call, u16 arg, unsigned long addr,
		      size_t count, size_t total, size_t limit)
{
	size_t room, part, i, len = 0, true_len = 0;
	struct lemona_tlv *tlv;
	unsigned long base;

	tlv = tlv_begin(call, LEMONA_TLV_IOVEC, arg, limit, &room);
	if (!tlv)
		return;
	for (i = 0; i < count && i < UIO_MAXIOV && true_len < total; i++) {
		if (get_iovec(call, addr, i, &base, &part)) {
			tlv->flags |= LEMONA_TLV_F_FAULT;
			break;
		}
		part = min(part, total - true_len);
		/* after a fault nothing that follows is in its place */
		if (len == true_len && !(tlv->flags & LEMONA_TLV_F_FAULT))
			len += tlv_copy(tlv, len, base, min(part, room - len));
		true_len += part;
	}
	tlv_end(call, tlv, len, true_len);
}

/** lemona_snap_limit - bytes kept of a plain buffer */
size_t lemona_snap_limit(void)
{
	return min(READ_ONCE(lemona_snap), 2048U);
}

/* What a msghdr holds, without regard to its layout */
struct message {
	unsigned long name, iov, iovlen, control, controllen;
	size_t namelen;
};

static int get_message(const struct lemona_call *call, unsigned long addr,
		       struct message *msg)
{
	struct compat_msghdr narrow;
	struct user_msghdr wide;

	if (call->compat) {
		if (copy_from_user(&narrow, (void __user *)addr,
				   sizeof(narrow)))
			return -EFAULT;
		*msg = (struct message){ narrow.msg_name, narrow.msg_iov,
					 narrow.msg_iovlen, narrow.msg_control,
					 narrow.msg_controllen,
					 max(narrow.msg_namelen, 0) };
		return 0;
	}
	if (copy_from_user(&wide, (void __user *)addr, sizeof(wide)))
		return -EFAULT;
	*msg = (struct message){ (unsigned long)wide.msg_name,
				 (unsigned long)wide.msg_iov, wide.msg_iovlen,
				 (unsigned long)wide.msg_control,
				 wide.msg_controllen,
				 max(wide.msg_namelen, 0) };
	return 0;
}

/**
 * lemona_put_message - a msghdr, and what it leads to
 * @call: the call
 * @arg: index of the argument
 * @addr: where it is
 * @size: bytes of the header
 * @data: address, bytes and control too
 * @total: bytes that moved
 */
void lemona_put_message(struct lemona_call *call, u16 arg, unsigned long addr,
			size_t size, bool data, size_t total)
{
	struct message msg;

	lemona_put_bytes(call, LEMONA_TLV_STRUCT, arg, addr, size, LEMONA_STRUCT_MAX);
	if (!data || get_message(call, addr, &msg))
		return;
	if (msg.name)
		lemona_put_bytes(call, LEMONA_TLV_SOCKADDR, arg, msg.name,
				 msg.namelen, LEMONA_SOCKADDR_MAX);
	lemona_put_iovec(call, arg, msg.iov, msg.iovlen, total,
			 lemona_snap_limit());
	if (msg.control && msg.controllen)
		lemona_put_bytes(call, LEMONA_TLV_CONTROL, arg, msg.control,
				 msg.controllen, CONTROL_MAX);
}

/** lemona_message_size - bytes of a msghdr */
size_t lemona_message_size(const struct lemona_call *call)
{
	return call->compat ? sizeof(struct compat_msghdr) :
			      sizeof(struct user_msghdr);
}

/**
 * lemona_put_messages - an array of mmsghdr: msghdr, bytes that moved, padding
 * @call: the call
 * @arg: index of the argument
 * @addr: where they are
 * @count: how many there are, at most the result at exit
 * @sent: what they lead to was captured at entry; only the headers are new
 */
void lemona_put_messages(struct lemona_call *call, u16 arg, unsigned long addr,
			 size_t count, bool sent)
{
	size_t at = lemona_message_size(call);
	size_t size = call->compat ? sizeof(struct compat_mmsghdr) :
				     sizeof(struct mmsghdr);
	bool entry = call->when == LEMONA_WHEN_ENTRY;
	size_t i;
	u32 moved;

	if (!entry)
		count = min_t(size_t, count, call->ret);
	for (i = 0; i < count; i++, addr += size) {
		if (i == MSGS_MAX) {
			call->cut = true;
			return;
		}
		if (get_user(moved, (u32 __user *)(addr + at))) {
			lemona_put_fault(call, LEMONA_TLV_STRUCT, arg);
			return;
		}
		lemona_put_message(call, arg, addr, size, entry || !sent,
				   entry ? SIZE_MAX : moved);
	}
}

/**
 * lemona_put_pointed - structures that an array of addresses leads to
 * @call: the call
 * @arg: index of the argument
 * @addr: of the array
 * @size: bytes of a structure
 * @count: how many addresses
 */
void lemona_put_pointed(struct lemona_call *call, u16 arg, unsigned long addr,
			size_t size, size_t count)
{
	size_t room, i, len = 0, true_len;
	struct lemona_tlv *tlv;
	unsigned long item;

	count = min_t(size_t, count, U32_MAX);
	true_len = count * size;
	tlv = tlv_begin(call, LEMONA_TLV_STRUCT, arg,
			min_t(size_t, true_len, LEMONA_STRUCT_MAX), &room);
	if (!tlv)
		return;
	for (i = 0; i < count && len + size <= room; i++) {
		if (get_address(call, addr, i, &item)) {
			tlv->flags |= LEMONA_TLV_F_FAULT;
			break;
		}
		len += tlv_copy(tlv, len, item, size);
		if (tlv->flags & LEMONA_TLV_F_FAULT)
			break;
	}
	tlv_end(call, tlv, len, true_len);
}

int lemona_capture_init(void)
{
	scratch_cache = kmem_cache_create_usercopy("lemona_scratch",
						   SCRATCH_SIZE, 8, 0, 0,
						   SCRATCH_SIZE, NULL);
	return scratch_cache ? 0 : -ENOMEM;
}

void lemona_capture_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		void *spare = per_cpu(spare_scratch, cpu);

		if (spare)
			kmem_cache_free(scratch_cache, spare);
	}
	kmem_cache_destroy(scratch_cache);
}

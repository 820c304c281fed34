// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * System calls, entered and left, and what is captured of them: the table of
 * lemona_syscalls.h applied.
 */
#include <linux/compat.h>
#include <linux/errno.h>
#include <linux/fdtable.h>
#include <linux/io_uring_types.h>
#include <linux/ioctl.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include <asm/syscall.h>

#include "capture.h"
#include "lemona.h"
#include "lemona_syscalls.h"
#include "stream.h"

#define UNBOUNDED	255	/* a result that no argument bounds */

static_assert(LEMONA_WHEN_ENTRY == LEMONA_ARG_IN);

/* Entries that were dropped; the second: of calls through an ia32 entry */
static atomic_long_t lost_calls[2];

static const struct lemona_sysdesc unknown_call = { .nargs = 6 };

/* x32's own, or a shared number whose code asks in_compat_syscall()? */
static bool has_x32_layouts(long nr)
{
	return nr >= LEMONA_FIRST_X32 || lemona_sysx32[nr].nargs;
}

/* What a number is recorded as that would not fit */
#define NR_BEYOND	0xfffe

/* Look a call up by its number as the entry code has it. */
static __always_inline void call_begin(struct lemona_call *call, long nr)
{
	const struct lemona_sysdesc *table = lemona_sys64;
	size_t rows = ARRAY_SIZE(lemona_sys64);

	call->abi = LEMONA_F_ABI_64;
	call->base = 0;
	call->compat = false;
	call->cut = false;
	call->scratch = NULL;
	call->len = 0;
	if (in_ia32_syscall()) {
		call->abi = LEMONA_F_ABI_IA32;
		call->compat = true;
		table = lemona_sys32;
		rows = ARRAY_SIZE(lemona_sys32);
	} else if (nr > 0 && (nr & __X32_SYSCALL_BIT)) {
		call->abi = LEMONA_F_ABI_X32;
		nr &= ~__X32_SYSCALL_BIT;
		call->compat = has_x32_layouts(nr);
		if (call->compat) {
			table = lemona_sysx32;
			rows = ARRAY_SIZE(lemona_sysx32);
		}
	}
	/* all that has a name fits; -1 is a call that is skipped, or replaced */
	call->nr = nr < -1 || nr >= NR_BEYOND ? NR_BEYOND : nr;
	call->desc = nr >= 0 && nr < rows ? &table[nr] : &unknown_call;
}

/* Argument @a->k as the kernel takes it; what is negative there is no length */
static __always_inline size_t value_of(const struct lemona_call *call,
				       const struct lemona_arg *a)
{
	unsigned long value = call->args[a->k];

	return a->flags & LEMONA_ARG_INT ? max_t(int, value, 0) : value;
}

/* Bytes of the longs that hold so many bits */
static size_t bitmap_bytes(const struct lemona_call *call, size_t bits)
{
	size_t unit = call->compat ? sizeof(compat_long_t) : sizeof(long);

	return DIV_ROUND_UP(bits, 8 * unit) * unit;
}

/* How many elements an argument's memory at @addr has, as its rule says */
static __always_inline int
get_base(const struct lemona_call *call, const struct lemona_arg *a,
	 unsigned long addr, size_t *base)
{
	u32 word;

	switch (a->rule) {
	case LEMONA_LEN_ARG:
		*base = value_of(call, a);
		return 0;
	case LEMONA_LEN_RET:
		*base = call->ret;
		if (a->k != UNBOUNDED)
			*base = min_t(size_t, *base, value_of(call, a));
		return 0;
	case LEMONA_LEN_FIT:
		*base = call->ret <= value_of(call, a) ? call->ret : 0;
		return 0;
	case LEMONA_LEN_U32:
		if (get_user(word, (u32 __user *)call->args[a->k]))
			return -EFAULT;
		*base = max_t(int, word, 0);
		return 0;
	case LEMONA_LEN_SELF:
		if (get_user(word, (u32 __user *)(addr + a->k)))
			return -EFAULT;
		*base = word;
		return 0;
	case LEMONA_LEN_OWN:
		if (get_user(word, (u32 __user *)(addr + a->k)))
			return -EFAULT;
		*base = word ?: a->add;
		return 0;
	case LEMONA_LEN_BITS:
		*base = value_of(call, a);
		*base = bitmap_bytes(call, *base - min_t(size_t, *base, a->add));
		return 0;
	case LEMONA_LEN_PAGES:
		*base = DIV_ROUND_UP(value_of(call, a), PAGE_SIZE);
		return 0;
	}
	*base = 1;
	return 0;
}

static const struct {
	u16 in, out;	/* LEMONA_TLV_* */
	u16 limit;	/* 0: as the parameter snap says */
} plain_kinds[] = {
	[LEMONA_ARG_BYTES] = { LEMONA_TLV_BUF_IN, LEMONA_TLV_BUF_OUT, 0 },
	[LEMONA_ARG_STRUCT] = { LEMONA_TLV_STRUCT, LEMONA_TLV_STRUCT,
				LEMONA_STRUCT_MAX },
	[LEMONA_ARG_SOCKADDR] = { LEMONA_TLV_SOCKADDR, LEMONA_TLV_SOCKADDR,
				  LEMONA_SOCKADDR_MAX },
};

static bool is_plain(const struct lemona_arg *a)
{
	return a->kind < ARRAY_SIZE(plain_kinds) && plain_kinds[a->kind].in;
}

/* Bytes, structures and socket addresses: most of what is captured */
static __always_inline void
put_plain(struct lemona_call *call, const struct lemona_arg *a, u16 arg,
	  unsigned long addr)
{
	u16 type = call->when == LEMONA_WHEN_ENTRY ? plain_kinds[a->kind].in :
						 plain_kinds[a->kind].out;
	/* these two have made use of it */
	bool is_used = a->rule == LEMONA_LEN_BITS || a->rule == LEMONA_LEN_OWN;
	size_t add = is_used ? 0 : a->add;
	size_t base;

	if (get_base(call, a, addr, &base)) {
		lemona_put_fault(call, type, arg);
		return;
	}
	/* 2^32 elements of 2^16 bytes do not overflow */
	lemona_put_bytes(call, type, arg, addr,
			 min_t(size_t, base, U32_MAX) * a->size + add,
			 plain_kinds[a->kind].limit ?: lemona_snap_limit());
}

/* Bytes that a transfer moved, as far as it is known */
static size_t moved(const struct lemona_call *call)
{
	return call->when == LEMONA_WHEN_ENTRY ? SIZE_MAX : call->ret;
}

static noinline void put_other(struct lemona_call *call,
			       const struct lemona_arg *a, u16 arg,
			       unsigned long addr)
{
	size_t count;

	switch (a->kind) {
	case LEMONA_ARG_STRING:
		lemona_put_string(call, arg, addr);
		return;
	case LEMONA_ARG_STRV:
		lemona_put_strv(call, arg, addr);
		return;
	case LEMONA_ARG_MSG:
		lemona_put_message(call, arg, addr, lemona_message_size(call),
				   true, moved(call));
		return;
	}
	if (get_base(call, a, addr, &count))
		return;
	switch (a->kind) {
	case LEMONA_ARG_IOVEC:
		lemona_put_iovec(call, arg, addr, count, moved(call),
				 lemona_snap_limit());
		return;
	case LEMONA_ARG_MMSG:
		lemona_put_messages(call, arg, addr, count,
				    a->flags & LEMONA_ARG_IN);
		return;
	case LEMONA_ARG_PTRS:
		lemona_put_pointed(call, arg, addr, a->size, count);
		return;
	}
}

static __always_inline void
capture_memory(struct lemona_call *call, const struct lemona_arg *a, u16 arg,
	       unsigned long addr)
{
	if (!(a->flags & call->when))
		return;
	if (likely(is_plain(a)))
		put_plain(call, a, arg, addr);
	else
		put_other(call, a, arg, addr);
}

static const struct lemona_command *
find_command(const struct lemona_commands *table, u32 nr)
{
	u32 low = 0, high = table->count;

	while (low < high) {
		u32 middle = (low + high) / 2;

		if (table->rows[middle].nr == nr)
			return &table->rows[middle];
		if (table->rows[middle].nr < nr)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* An argument whose meaning another argument decides */
static noinline void
capture_by(struct lemona_call *call, const struct lemona_arg *by, u16 arg,
	   unsigned long addr)
{
	const struct lemona_commands *table = &lemona_commands[by->size];
	const struct lemona_command *command;
	bool compat = call->compat;
	struct lemona_arg encoded = { LEMONA_ARG_STRUCT };
	u32 nr = call->args[by->k];

	if (by->flags & LEMONA_ARG_DEREF &&
	    get_user(nr, (u32 __user *)call->args[by->k]))
		return;
	nr = (nr & table->mask) >> table->shift;
	command = find_command(table, nr);
	if (command) {
		if (command->ia32 && call->abi == LEMONA_F_ABI_X32)
			compat = false;
		capture_memory(call, compat ? &command->compat : &command->arg,
			       arg, addr);
		return;
	}
	if (!table->encoded || !_IOC_SIZE(nr))
		return;
	encoded.size = _IOC_SIZE(nr);
	if (_IOC_DIR(nr) & _IOC_WRITE)
		encoded.flags |= LEMONA_ARG_IN;
	if (_IOC_DIR(nr) & _IOC_READ)
		encoded.flags |= LEMONA_ARG_OUT;
	capture_memory(call, &encoded, arg, addr);
}

static void capture_args(struct lemona_call *call);

/* ia32's socketcall(): a vector of arguments, then what those lead to */
static void capture_socketcall(struct lemona_call *call, unsigned long addr)
{
	const struct lemona_socketcall *inner;
	struct lemona_call outer = *call;
	u32 args[6] = {};
	size_t i;

	if (call->args[0] >= ARRAY_SIZE(lemona_socketcalls))
		return;
	inner = &lemona_socketcalls[call->args[0]];
	if (call->when == LEMONA_WHEN_ENTRY)
		lemona_put_bytes(call, LEMONA_TLV_STRUCT, 1, addr,
				 inner->nargs * sizeof(u32), sizeof(args));
	if (copy_from_user(args, (void __user *)addr,
			   inner->nargs * sizeof(u32)))
		return;
	for (i = 0; i < ARRAY_SIZE(args); i++)
		call->args[i] = args[i];
	call->desc = &lemona_sys32[inner->nr];
	call->base = LEMONA_SOCKETCALL_ARG;
	capture_args(call);
	memcpy(call->args, outer.args, sizeof(call->args));
	call->desc = outer.desc;
	call->base = outer.base;
}

static void capture_args(struct lemona_call *call)
{
	const struct lemona_sysdesc *desc = call->desc;
	unsigned long todo = call->when == LEMONA_WHEN_ENTRY ? desc->entry :
							     desc->exit;
	unsigned int i;

	for (; todo; todo &= todo - 1) {
		const struct lemona_arg *a;

		i = __ffs(todo);
		a = &desc->arg[i];
		if (!call->args[i])
			continue;
		if (a->kind == LEMONA_ARG_BY)
			capture_by(call, a, i, call->args[i]);
		else if (a->kind == LEMONA_ARG_SOCKETCALL)
			capture_socketcall(call, call->args[i]);
		else
			capture_memory(call, a, i, call->args[i]);
	}
}

/* Look a call up, capture what it is going to read; how many arguments it has */
static unsigned int call_enter(struct lemona_call *call, struct pt_regs *regs,
			       long nr)
{
	call_begin(call, nr);
	if (call->desc->nargs)
		syscall_get_arguments(current, regs, call->args);
	call->when = LEMONA_WHEN_ENTRY;
	call->ret = 0;
	if (call->desc->entry)
		capture_args(call);
	return call->desc->nargs;
}

/* Look a call up, and capture what it wrote */
static void call_return(struct lemona_call *call, struct pt_regs *regs,
			long ret)
{
	call_begin(call, syscall_get_nr(current, regs));
	if (!call->desc->exit)
		return;
	call->ret = ret;
	if (ret >= 0)
		call->when = LEMONA_ARG_OUT |
			     (ret > 0 ? LEMONA_ARG_POSITIVE : 0);
	else if (ret == -EINTR || ret == -ERESTART_RESTARTBLOCK)
		call->when = LEMONA_ARG_INTR;
	else
		return;
	syscall_get_arguments(current, regs, call->args);
	capture_args(call);
}

/*
 * No reference is taken: that would let this task be the one that closes it. So
 * another thread may make it another file meanwhile, and its inode is not to be
 * trusted to be one.
 */
static bool is_socket(unsigned int fd)
{
	struct inode *inode = NULL;
	struct file *file;
	umode_t mode = 0;

	rcu_read_lock();
	file = current->files ? files_lookup_fd_raw(current->files, fd) : NULL;
	/* of a socket's name in a file system there is nothing to be heard */
	if (file && !(READ_ONCE(file->f_mode) & FMODE_PATH))
		inode = READ_ONCE(file->f_inode);
	if (inode && get_kernel_nofault(mode, &inode->i_mode))
		mode = 0;
	rcu_read_unlock();
	return S_ISSOCK(mode);
}

/* LEMONA_F_SOCKET if a call is about a socket, as far as one can tell now */
static u16 call_about(const struct lemona_call *call, struct pt_regs *regs)
{
	unsigned long args[6];

	switch (call->desc->about) {
	case LEMONA_ABOUT_SOCKET:
		return LEMONA_F_SOCKET;
	case LEMONA_ABOUT_FD:
		syscall_get_arguments(current, regs, args);
		return is_socket(args[0]) ? LEMONA_F_SOCKET : 0;
	}
	return 0;
}

static __always_inline u16
call_flags(const struct lemona_call *call, struct pt_regs *regs)
{
	u16 flags = call->abi | (call->cut ? LEMONA_F_CUT : 0);

	if (static_branch_unlikely(&lemona_by_category))
		flags |= call_about(call, regs);
	return flags;
}

/* What memcpy() costs is more than what it copies here. */
static void put_args(__u64 *to, const unsigned long *args, unsigned int nargs)
{
	switch (nargs) {
	case 6:
		to[5] = args[5];
		fallthrough;
	case 5:
		to[4] = args[4];
		fallthrough;
	case 4:
		to[3] = args[3];
		fallthrough;
	case 3:
		to[2] = args[2];
		fallthrough;
	case 2:
		to[1] = args[1];
		fallthrough;
	case 1:
		to[0] = args[0];
	}
}

void lemona_on_syscall_enter(struct pt_regs *regs, long nr, bool denied)
{
	struct lemona_call call __uninitialized;
	struct lemona_slot slot __uninitialized;
	struct lemona_entry *e;
	unsigned int nargs;

	/* stores made before this call come before its effects */
	lemona_capture_current();
	lemona_wait_for_space();

	nargs = call_enter(&call, regs, nr);
	lemona_prepare();
	e = lemona_stream_begin(&slot, LEMONA_KIND_ENTRY, call.nr,
				sizeof(*e) + nargs * sizeof(u64) + call.len);
	if (e) {
		e->h.flags = call_flags(&call, regs) |
			     nargs << LEMONA_F_NARGS_SHIFT |
			     (denied ? LEMONA_F_DENIED : 0);
		put_args(e->args, call.args, nargs);
		if (call.len)
			lemona_copy(e->args + nargs, call.scratch, call.len);
		lemona_stream_end(&slot);
	} else {
		atomic_long_inc(&lost_calls[call.abi == LEMONA_F_ABI_IA32]);
	}
	lemona_call_end(&call);
}

void lemona_on_syscall_exit(struct pt_regs *regs)
{
	long ret = syscall_get_return_value(current, regs);
	struct lemona_call call __uninitialized;
	struct lemona_slot slot __uninitialized;
	struct lemona_exit *e;

	/* what the call stored: others may be told by a signal, or by its results */
	lemona_capture_current();
	call_return(&call, regs, ret);
	lemona_prepare();
	e = lemona_stream_begin(&slot, LEMONA_KIND_EXIT, call.nr,
				sizeof(*e) + call.len);
	if (e) {
		e->h.flags = call_flags(&call, regs);
		e->ret = ret;
		if (call.len)
			lemona_copy(e->tlvs, call.scratch, call.len);
		lemona_stream_end(&slot);
	}
	lemona_call_end(&call);
}

/**
 * lemona_lost_calls - how many entries were dropped
 * @ia32: of calls through an ia32 entry, else of the others
 */
long lemona_lost_calls(bool ia32)
{
	return atomic_long_read(&lost_calls[ia32]);
}

static const struct lemona_sysdesc *request_of(unsigned int opcode)
{
	return opcode < ARRAY_SIZE(lemona_uring_ops) ?
	       &lemona_uring_ops[opcode] : &unknown_call;
}

/**
 * lemona_call_request - capture what a request of io_uring is going to read
 * @call: with what was captured before; only @compat is set else
 * @sqe: a copy that does not change
 */
void lemona_call_request(struct lemona_call *call,
			 const struct io_uring_sqe *sqe)
{
	call->desc = request_of(sqe->opcode);
	call->when = LEMONA_WHEN_ENTRY;
	call->args[1] = sqe->addr;
	call->args[2] = sqe->addr2;
	call->args[3] = sqe->addr3;
	call->args[4] = sqe->len;
	call->args[5] = sqe->addr_len;
	capture_args(call);
}

/**
 * lemona_request_about - is a request of io_uring about a socket?
 * @opcode: of it
 *
 * Return: LEMONA_F_SOCKET or 0.
 */
u16 lemona_request_about(unsigned int opcode)
{
	return request_of(opcode)->about == LEMONA_ABOUT_SOCKET ?
	       LEMONA_F_SOCKET : 0;
}

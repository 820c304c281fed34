// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The forensic plane: what programs asked for, and who ran when.
 *
 * What a call's pointers lead to is copied into scratch memory, with faults
 * allowed, before the record is reserved. Another thread may change user memory
 * before the kernel looks at it again, so such copies are flagged UNSTABLE;
 * what really reached a file is in the effect plane.
 */
#include <linux/binfmts.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/io_uring_types.h>
#include <linux/kdev_t.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/utsname.h>

#include <asm/syscall.h>

#include "lemona.h"
#include "lemona_syscalls.h"
#include "lemona_uring.h"

#define SCRATCH_SIZE	SZ_16K
#define STRV_MAX	SZ_4K	/* bytes kept of a string vector */
#define IOV_MAX_READ	16	/* elements looked at of an iovec */

static struct kmem_cache *scratch_cache;
/* Entries that were dropped; the second: of calls through an ia32 entry */
static atomic_long_t lost_calls[2];

/**
 * struct lemona_call - a system call being recorded
 * @desc: its row in the table
 * @args: its arguments
 * @nr: its number
 * @abi: LEMONA_F_ABI_*
 * @scratch: TLVs, or NULL
 * @len: bytes of them
 */
struct lemona_call {
	const struct lemona_sysdesc *desc;
	unsigned long args[6];
	long nr;
	u16 abi;
	void *scratch;
	size_t len;
};

static const struct lemona_sysdesc unknown_call = { .nargs = 6 };

static void call_init(struct lemona_call *call, struct pt_regs *regs, long nr)
{
	const struct lemona_sysdesc *table = lemona_sys64;
	size_t rows = ARRAY_SIZE(lemona_sys64);

	call->abi = LEMONA_F_ABI_64;
	if (in_ia32_syscall()) {
		call->abi = LEMONA_F_ABI_IA32;
		table = lemona_sys32;
		rows = ARRAY_SIZE(lemona_sys32);
	} else if (nr > 0 && (nr & __X32_SYSCALL_BIT)) {
		call->abi = LEMONA_F_ABI_X32;
		nr &= ~__X32_SYSCALL_BIT;
	}
	call->nr = nr;
	call->desc = nr >= 0 && nr < rows ? &table[nr] : &unknown_call;
	call->scratch = NULL;
	call->len = 0;
	syscall_get_arguments(current, regs, call->args);
}

static void call_exit(struct lemona_call *call)
{
	if (call->scratch)
		kmem_cache_free(scratch_cache, call->scratch);
}

/* Begin a TLV with room for up to @want bytes; @room is set to what there is. */
static struct lemona_tlv *tlv_begin(struct lemona_call *call, u16 type, u16 arg,
				    size_t want, size_t *room)
{
	struct lemona_tlv *tlv;

	if (!call->scratch)
		call->scratch = kmem_cache_alloc(scratch_cache, GFP_KERNEL);
	if (!call->scratch ||
	    call->len + sizeof(*tlv) + 8 > SCRATCH_SIZE)
		return NULL;
	*room = min(want, SCRATCH_SIZE - call->len - sizeof(*tlv) - 8);
	tlv = call->scratch + call->len;
	tlv->type = type;
	tlv->arg = arg;
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
	memset((void *)(tlv + 1) + len, 0, ALIGN(len, 8) - len);
	call->len += sizeof(*tlv) + ALIGN(len, 8);
}

static void put_bytes(struct lemona_call *call, u16 type, u16 arg,
		      unsigned long addr, size_t true_len, size_t limit)
{
	struct lemona_tlv *tlv;
	size_t len;

	tlv = tlv_begin(call, type, arg, min(true_len, limit), &len);
	if (!tlv)
		return;
	if (copy_from_user(tlv + 1, (void __user *)addr, len)) {
		tlv->flags |= LEMONA_TLV_F_FAULT;
		len = 0;
	}
	tlv_end(call, tlv, len, true_len);
}

static void put_path(struct lemona_call *call, u16 arg, unsigned long addr)
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

static void put_strv(struct lemona_call *call, u16 arg, unsigned long addr)
{
	const char __user *const __user *v = (void __user *)addr;
	const char __user *str;
	struct lemona_tlv *tlv;
	size_t room, len = 0;
	bool cut = false;
	long n;

	tlv = tlv_begin(call, LEMONA_TLV_STRV, arg, STRV_MAX, &room);
	if (!tlv)
		return;
	for (;; v++) {
		if (get_user(str, v)) {
			tlv->flags |= LEMONA_TLV_F_FAULT;
			break;
		}
		if (!str)
			break;
		n = strncpy_from_user((char *)(tlv + 1) + len, str, room - len);
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

static void put_iovec(struct lemona_call *call, u16 arg, unsigned long addr,
		      size_t count, size_t limit)
{
	const struct iovec __user *v = (void __user *)addr;
	size_t room, part, len = 0, true_len = 0;
	struct lemona_tlv *tlv;
	struct iovec iov;
	size_t i;

	tlv = tlv_begin(call, LEMONA_TLV_IOVEC, arg, limit, &room);
	if (!tlv)
		return;
	for (i = 0; i < min_t(size_t, count, IOV_MAX_READ); i++) {
		if (copy_from_user(&iov, v + i, sizeof(iov)))
			goto fault;
		true_len += iov.iov_len;
		part = min(iov.iov_len, room - len);
		if (copy_from_user((void *)(tlv + 1) + len, iov.iov_base, part))
			goto fault;
		len += part;
	}
	if (count > IOV_MAX_READ)
		true_len = max(true_len, len + 1);
	tlv_end(call, tlv, len, true_len);
	return;
fault:
	tlv->flags |= LEMONA_TLV_F_FAULT;
	tlv_end(call, tlv, len, true_len);
}

static size_t snap_limit(void)
{
	return min(READ_ONCE(lemona_snap), 2048U);
}

static void capture_in(struct lemona_call *call)
{
	int i;

	for (i = 0; i < call->desc->nargs; i++) {
		unsigned long addr = call->args[i];
		u8 p = call->desc->arg[i].p;

		if (!addr)
			continue;
		switch (call->desc->arg[i].kind) {
		case LEMONA_ARG_PATH:
			put_path(call, i, addr);
			break;
		case LEMONA_ARG_STRV:
			put_strv(call, i, addr);
			break;
		case LEMONA_ARG_BUF_IN:
			put_bytes(call, LEMONA_TLV_BUF_IN, i, addr,
				  call->args[p], snap_limit());
			break;
		case LEMONA_ARG_SOCKADDR:
			put_bytes(call, LEMONA_TLV_SOCKADDR, i, addr,
				  call->args[p], 128);
			break;
		case LEMONA_ARG_STRUCT_IN:
			put_bytes(call, LEMONA_TLV_STRUCT, i, addr, p * 8,
				  2048);
			break;
		case LEMONA_ARG_IOVEC:
			put_iovec(call, i, addr, call->args[p], snap_limit());
			break;
		}
	}
}

static void capture_out(struct lemona_call *call, long ret)
{
	int i;

	if (ret < 0)
		return;
	for (i = 0; i < call->desc->nargs; i++) {
		unsigned long addr = call->args[i];
		u8 p = call->desc->arg[i].p;

		if (!addr)
			continue;
		switch (call->desc->arg[i].kind) {
		case LEMONA_ARG_BUF_OUT:
			put_bytes(call, LEMONA_TLV_BUF_OUT, i, addr,
				  min_t(size_t, ret, call->args[p]),
				  snap_limit());
			break;
		case LEMONA_ARG_STRUCT_OUT:
			put_bytes(call, LEMONA_TLV_STRUCT, i, addr, p * 8,
				  2048);
			break;
		}
	}
}

void lemona_on_syscall_enter(struct pt_regs *regs, long nr, bool denied)
{
	struct lemona_call call;
	struct lemona_slot slot;
	struct lemona_entry *e;
	size_t nargs;

	/* stores made before this call come before its effects */
	lemona_capture_current();
	lemona_wait_for_space();

	call_init(&call, regs, nr);
	nargs = call.desc->nargs;
	capture_in(&call);
	lemona_prepare();
	e = lemona_begin(&slot, LEMONA_KIND_ENTRY, call.nr,
			 sizeof(*e) + nargs * sizeof(u64) + call.len);
	if (e) {
		e->h.flags = call.abi | nargs << LEMONA_F_NARGS_SHIFT |
			     (denied ? LEMONA_F_DENIED : 0);
		memcpy(e->args, call.args, nargs * sizeof(u64));
		memcpy(e->args + nargs, call.scratch, call.len);
		lemona_end(&slot);
	} else {
		atomic_long_inc(&lost_calls[call.abi == LEMONA_F_ABI_IA32]);
	}
	call_exit(&call);
}

void lemona_on_syscall_exit(struct pt_regs *regs)
{
	long ret = syscall_get_return_value(current, regs);
	struct lemona_call call;
	struct lemona_slot slot;
	struct lemona_exit *e;

	call_init(&call, regs, syscall_get_nr(current, regs));
	capture_out(&call, ret);
	lemona_prepare();
	e = lemona_begin(&slot, LEMONA_KIND_EXIT, call.nr,
			 sizeof(*e) + call.len);
	if (e) {
		e->h.flags = call.abi;
		e->ret = ret;
		memcpy(e->tlvs, call.scratch, call.len);
		lemona_end(&slot);
	}
	call_exit(&call);
}

void lemona_on_user_preempt(void)
{
	lemona_capture_current();
	lemona_wait_for_space();
}

void lemona_on_throttle(void)
{
	lemona_wait_for_space();
}

void lemona_on_sched_switch(struct task_struct *prev, struct task_struct *next,
			    unsigned int prev_state)
{
	struct lemona_slot slot;
	struct lemona_switch *s;

	s = lemona_begin(&slot, LEMONA_KIND_SWITCH, 0, sizeof(*s));
	if (!s)
		return;
	s->h.tid = prev->pid;
	s->next_tid = next->pid;
	s->prev_state = prev_state;
	lemona_end(&slot);
}

/* May be called under tasklist_lock */
static void put_task(struct task_struct *task, u16 code)
{
	struct lemona_slot slot;
	struct lemona_task *t;
	const struct cred *cred;

	t = lemona_begin(&slot, LEMONA_KIND_TASK, code, sizeof(*t));
	if (!t)
		return;
	rcu_read_lock();
	cred = __task_cred(task);
	t->tid = task->pid;
	t->tgid = task->tgid;
	t->parent_tgid = rcu_dereference(task->real_parent)->tgid;
	t->task_flags = (task->flags & PF_KTHREAD ? LEMONA_TASK_F_KTHREAD : 0) |
			(task->pid != task->tgid ? LEMONA_TASK_F_THREAD : 0);
	t->uid = from_kuid(&init_user_ns, cred->uid);
	t->gid = from_kgid(&init_user_ns, cred->gid);
	t->euid = from_kuid(&init_user_ns, cred->euid);
	t->egid = from_kgid(&init_user_ns, cred->egid);
	rcu_read_unlock();
	memcpy(t->comm, task->comm, sizeof(t->comm));
	lemona_end(&slot);
}

void lemona_on_fork(struct task_struct *child)
{
	lemona_prepare();
	put_task(child, LEMONA_TASK_FORK);
}

static void put_present(struct task_struct *task)
{
	put_task(task, LEMONA_TASK_PRESENT);
}

static int put_info(const char *text, int len)
{
	struct lemona_slot slot;
	struct lemona_info *info;

	lemona_prepare();
	info = lemona_begin(&slot, LEMONA_KIND_INFO, 0, sizeof(*info) + len);
	if (!info)
		return -ENOBUFS;
	memcpy(info->text, text, len);
	lemona_end(&slot);
	return 0;
}

/** lemona_forensic_start - tell of the recording and the tasks that are there */
void lemona_forensic_start(void)
{
	char text[256];
	int len;

	len = scnprintf(text, sizeof(text),
			"release=%s\nlossy=%d\npool_mb=%u\nsubbuf_kb=%u\nsnap=%u\nflush_ms=%u\n",
			utsname()->release, lemona_lossy, lemona_pool_mb,
			lemona_subbuf_kb, lemona_snap, lemona_flush_ms);
	put_info(text, len);
	lemona_visit_tasks(put_present);
}

/**
 * struct lemona_tally - calls that were made and are in no record
 * @number: counts the tallies, as a witness counts its notes
 * @exempt: of exempt tasks
 * @lost: entries dropped; both: [1] through an ia32 entry, [0] the others
 */
struct lemona_tally {
	unsigned int number;
	long exempt[2];
	long lost[2];
};

static void take_tally(void *arg)
{
	static unsigned int number;	/* protected by lemona_when_idle() */
	struct lemona_tally *tally = arg;
	int i;

	lemona_witness(LEMONA_WITNESS_ACCOUNT);
	tally->number = ++number;
	for (i = 0; i < 2; i++) {
		tally->exempt[i] = lemona_exempt_calls(i);
		tally->lost[i] = atomic_long_read(&lost_calls[i]);
	}
}

/**
 * lemona_account - record how many calls have been made that are in no record
 *
 * It is exact if all tasks but the caller and the reader are gone: both are
 * then in a call that is counted. Return: 0, or an error of lemona_when_idle(),
 * or -ENOBUFS if that record was lost too.
 */
int lemona_account(void)
{
	struct lemona_tally tally;
	char text[160];
	int error;
	int len;

	error = lemona_when_idle(take_tally, &tally);
	if (error)
		return error;
	len = scnprintf(text, sizeof(text),
			"account=%u\nexempt_calls=%ld\nexempt_calls_ia32=%ld\nlost_calls=%ld\nlost_calls_ia32=%ld\n",
			tally.number, tally.exempt[0], tally.exempt[1],
			tally.lost[0], tally.lost[1]);
	return put_info(text, len);
}

void lemona_on_exec(struct linux_binprm *bprm)
{
	size_t len = strnlen(bprm->filename, PATH_MAX);
	struct inode *inode = file_inode(bprm->file);
	const struct cred *cred = current_cred();
	struct lemona_slot slot;
	struct lemona_exec *e;

	lemona_prepare();
	e = lemona_begin(&slot, LEMONA_KIND_EXEC, 0, sizeof(*e) + len);
	if (!e)
		return;
	e->tgid = current->tgid;
	e->uid = from_kuid(&init_user_ns, cred->uid);
	e->gid = from_kgid(&init_user_ns, cred->gid);
	e->euid = from_kuid(&init_user_ns, cred->euid);
	e->egid = from_kgid(&init_user_ns, cred->egid);
	e->ino = inode->i_ino;
	e->gen = inode->i_generation;
	e->dev = new_encode_dev(inode->i_sb->s_dev);
	memcpy(e->comm, current->comm, sizeof(e->comm));
	e->path_len = len;
	e->pad = 0;
	memcpy(e->path, bprm->filename, len);
	lemona_end(&slot);
}

void lemona_on_exit(long code)
{
	struct lemona_slot slot;
	struct lemona_task_exit *e;

	lemona_capture_current();
	lemona_prepare();
	e = lemona_begin(&slot, LEMONA_KIND_TASK_EXIT, 0, sizeof(*e));
	if (!e)
		return;
	e->code = code;
	e->tgid = current->tgid;
	lemona_end(&slot);
}

void lemona_on_cred(const struct cred *new)
{
	struct lemona_slot slot;
	struct lemona_cred *c;

	c = lemona_begin(&slot, LEMONA_KIND_CRED, 0, sizeof(*c));
	if (!c)
		return;
	c->uid = from_kuid(&init_user_ns, new->uid);
	c->gid = from_kgid(&init_user_ns, new->gid);
	c->euid = from_kuid(&init_user_ns, new->euid);
	c->egid = from_kgid(&init_user_ns, new->egid);
	c->suid = from_kuid(&init_user_ns, new->suid);
	c->sgid = from_kgid(&init_user_ns, new->sgid);
	c->fsuid = from_kuid(&init_user_ns, new->fsuid);
	c->fsgid = from_kgid(&init_user_ns, new->fsgid);
	lemona_end(&slot);
}

/**
 * lemona_fault - record a write fault on a shared mapping
 * @inode: the mapped file
 * @index: the page in it
 * @address: where the task stored
 */
void lemona_fault(struct inode *inode, u64 index, u64 address)
{
	struct lemona_slot slot;
	struct lemona_fault *f;

	lemona_prepare();
	f = lemona_begin(&slot, LEMONA_KIND_FAULT, 0, sizeof(*f));
	if (!f)
		return;
	f->ino = inode->i_ino;
	f->gen = inode->i_generation;
	f->dev = new_encode_dev(inode->i_sb->s_dev);
	f->index = index;
	f->address = address;
	lemona_end(&slot);
}

static void put_uring(struct io_kiocb *req, u16 phase, u8 opcode,
		      u64 user_data, const struct lemona_call *call)
{
	const struct cred *cred = current_cred();
	size_t len = call ? call->len : 0;
	struct lemona_slot slot;
	struct lemona_uring *u;

	u = lemona_begin(&slot, LEMONA_KIND_URING, opcode, sizeof(*u) + len);
	if (!u)
		return;
	u->h.flags = phase;
	u->ring = (unsigned long)req->ctx;
	u->user_data = user_data;
	u->request = (unsigned long)req;
	u->result = phase == LEMONA_URING_COMPLETE ? req->cqe.res : 0;
	u->tgid = current->tgid;
	u->euid = from_kuid(&init_user_ns, cred->euid);
	u->egid = from_kgid(&init_user_ns, cred->egid);
	if (len)
		memcpy(u->tlvs, call->scratch, len);
	lemona_end(&slot);
}

/* A capture of the entry itself, as far as it is fixed: it is shared memory */
static bool put_sqe(struct lemona_call *call, const struct io_uring_sqe *sqe)
{
	struct lemona_tlv *tlv;
	size_t room;

	tlv = tlv_begin(call, LEMONA_TLV_STRUCT, 0, sizeof(*sqe), &room);
	if (!tlv || room < sizeof(*sqe))
		return false;
	memcpy(tlv + 1, sqe, sizeof(*sqe));
	tlv_end(call, tlv, sizeof(*sqe), sizeof(*sqe));
	return true;
}

static void put_uring_pointers(struct lemona_call *call,
			       const struct io_uring_sqe *sqe, bool compat)
{
	const struct lemona_uring_desc *desc;
	const u64 addr[] = { 0, sqe->addr, sqe->addr2, sqe->addr3 };
	int i;

	if (sqe->opcode >= ARRAY_SIZE(lemona_uring_ops))
		return;
	desc = &lemona_uring_ops[sqe->opcode];
	for (i = 0; i < ARRAY_SIZE(desc->arg); i++) {
		u8 field = desc->arg[i].field;

		if (!field || !addr[field])
			continue;
		switch (desc->arg[i].type) {
		case LEMONA_TLV_PATH:
			put_path(call, field, addr[field]);
			break;
		case LEMONA_TLV_BUF_IN:
			put_bytes(call, LEMONA_TLV_BUF_IN, field, addr[field],
				  sqe->len, snap_limit());
			break;
		case LEMONA_TLV_SOCKADDR:
			put_bytes(call, LEMONA_TLV_SOCKADDR, field, addr[field],
				  sqe->addr2, 128);
			break;
		case LEMONA_TLV_IOVEC:
			if (!compat)
				put_iovec(call, field, addr[field], sqe->len,
					  snap_limit());
			break;
		}
	}
}

void lemona_on_uring_submit(struct io_kiocb *req,
			    const struct io_uring_sqe *sqe)
{
	struct lemona_call call = {};

	/* a thread that polls the queue makes no system call */
	lemona_capture_current();
	lemona_wait_for_space();
	if (put_sqe(&call, sqe)) {
		const struct io_uring_sqe *copy;

		copy = call.scratch + sizeof(struct lemona_tlv);
		put_uring_pointers(&call, copy, req->ctx->compat);
		lemona_prepare();
		put_uring(req, LEMONA_URING_SUBMIT, copy->opcode,
			  copy->user_data, &call);
	}
	call_exit(&call);
}

void lemona_on_uring_issue(struct io_kiocb *req)
{
	lemona_prepare();
	put_uring(req, LEMONA_URING_ISSUE, req->opcode, req->cqe.user_data,
		  NULL);
}

/* May be called with the completion lock held */
void lemona_on_uring_complete(struct io_kiocb *req)
{
	put_uring(req, LEMONA_URING_COMPLETE, req->opcode, req->cqe.user_data,
		  NULL);
}

int lemona_forensic_init(void)
{
	scratch_cache = kmem_cache_create_usercopy("lemona_scratch",
						   SCRATCH_SIZE, 8, 0, 0,
						   SCRATCH_SIZE, NULL);
	return scratch_cache ? 0 : -ENOMEM;
}

void lemona_forensic_exit(void)
{
	kmem_cache_destroy(scratch_cache);
}

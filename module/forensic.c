// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The forensic plane: what programs asked for, and who ran when.
 */
#include <linux/binfmts.h>
#include <linux/cred.h>
#include <linux/io_uring_types.h>
#include <linux/kdev_t.h>
#include <linux/sched.h>
#include <linux/utsname.h>

#include "capture.h"
#include "lemona.h"
#include "stream.h"

void lemona_on_user_preempt(void)
{
	lemona_capture_current();
	lemona_wait_for_space();
}

void lemona_on_settle(void)
{
	lemona_capture_current();
}

void lemona_on_throttle(void)
{
	lemona_wait_for_space();
	/* before the next copy: others see that before its effect has a number */
	lemona_prepare();
}

void lemona_on_sched_switch(struct task_struct *prev, struct task_struct *next,
			    unsigned int prev_state)
{
	struct lemona_slot slot __uninitialized;
	struct lemona_switch *s;

	s = lemona_stream_begin(&slot, LEMONA_KIND_SWITCH, 0, sizeof(*s));
	if (!s)
		return;
	s->h.tid = prev->pid;
	s->next_tid = next->pid;
	s->prev_state = prev_state;
	lemona_stream_end(&slot);
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
	t->uid = __kuid_val(cred->uid);
	t->gid = __kgid_val(cred->gid);
	t->euid = __kuid_val(cred->euid);
	t->egid = __kgid_val(cred->egid);
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
		tally->lost[i] = lemona_lost_calls(i);
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
	e->uid = __kuid_val(cred->uid);
	e->gid = __kgid_val(cred->gid);
	e->euid = __kuid_val(cred->euid);
	e->egid = __kgid_val(cred->egid);
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
	c->uid = __kuid_val(new->uid);
	c->gid = __kgid_val(new->gid);
	c->euid = __kuid_val(new->euid);
	c->egid = __kgid_val(new->egid);
	c->suid = __kuid_val(new->suid);
	c->sgid = __kgid_val(new->sgid);
	c->fsuid = __kuid_val(new->fsuid);
	c->fsgid = __kgid_val(new->fsgid);
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
		      u64 user_data, int result,
		      const struct lemona_call *call)
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
	u->result = result;
	u->tgid = current->tgid;
	u->euid = __kuid_val(cred->euid);
	u->egid = __kgid_val(cred->egid);
	if (len)
		lemona_copy(u->tlvs, call->scratch, len);
	lemona_end(&slot);
}

void lemona_on_uring_submit(struct io_kiocb *req,
			    const struct io_uring_sqe *sqe)
{
	struct lemona_call call = { .compat = req->ctx->compat };

	/* a thread that polls the queue makes no system call */
	lemona_capture_current();
	lemona_wait_for_space();
	/* as far as it is fixed: it is shared memory */
	if (lemona_put_copy(&call, LEMONA_TLV_STRUCT, 0, sqe, sizeof(*sqe))) {
		const struct io_uring_sqe *copy;

		copy = call.scratch + sizeof(struct lemona_tlv);
		lemona_call_request(&call, copy);
		lemona_prepare();
		put_uring(req, LEMONA_URING_SUBMIT, copy->opcode,
			  copy->user_data, 0, &call);
	} else {
		lemona_prepare();
		put_uring(req, LEMONA_URING_SUBMIT, READ_ONCE(sqe->opcode),
			  READ_ONCE(sqe->user_data), 0, NULL);
	}
	lemona_call_end(&call);
}

void lemona_on_uring_issue(struct io_kiocb *req)
{
	/* of a chain, all are submitted before the first one stores */
	lemona_capture_current();
	lemona_prepare();
	put_uring(req, LEMONA_URING_ISSUE, req->opcode, req->cqe.user_data, 0,
		  NULL);
}

/* Any number of requests may end at once: each has room made for it. */
void lemona_on_uring_complete(struct io_kiocb *req, int res)
{
	lemona_capture_current();
	lemona_prepare();
	put_uring(req, LEMONA_URING_COMPLETE, req->opcode, req->cqe.user_data,
		  res, NULL);
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Parameters, start and stop, and the table of operations that the core calls.
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pkt_sched.h>

#include "capture.h"
#include "lemona.h"
#include "pool.h"

static bool start = true;
module_param(start, bool, 0444);
MODULE_PARM_DESC(start, "record from initialisation on (default: yes); else at a FREEZE with the enable flag");

bool lemona_lossy;
module_param_named(lossy, lemona_lossy, bool, 0444);
MODULE_PARM_DESC(lossy, "drop and declare records instead of making writers wait (default: no)");

unsigned int lemona_pool_mb = 16;
module_param_named(pool_mb, lemona_pool_mb, uint, 0444);
MODULE_PARM_DESC(pool_mb, "MiB queued for the reader above which writers wait (default: 16)");

unsigned int lemona_early_mb = 64;
module_param_named(early_mb, lemona_early_mb, uint, 0444);
MODULE_PARM_DESC(early_mb, "MiB that may queue before there is a reader (default: 64)");

unsigned int lemona_subbuf_kb = 256;
module_param_named(subbuf_kb, lemona_subbuf_kb, uint, 0444);
MODULE_PARM_DESC(subbuf_kb, "KiB of a sub-buffer, 96 (lossy: 64) to 1024 (default: 256)");

unsigned int lemona_snap = 256;
module_param_named(snap, lemona_snap, uint, 0644);
MODULE_PARM_DESC(snap, "bytes kept of a system call's buffer, up to 2048 (default: 256)");

unsigned int lemona_flush_ms = 50;
module_param_named(flush_ms, lemona_flush_ms, uint, 0644);
MODULE_PARM_DESC(flush_ms, "ms after which mapped stores are captured and records reach the reader at the latest (default: 50)");

bool lemona_relay = true;
module_param_named(relay, lemona_relay, bool, 0444);
MODULE_PARM_DESC(relay, "keep records for a reader of /dev/lemona (default: yes)");

char *lemona_server_list;
module_param_named(server, lemona_server_list, charp, 0444);
MODULE_PARM_DESC(server, "logging servers that are to have the records, IP:PORT[/network|/disk][,...]; they need a key, see lemona-key");

unsigned int lemona_copies;
module_param_named(copies, lemona_copies, uint, 0444);
MODULE_PARM_DESC(copies, "servers that get each CPU's records, by turns (default: 0, all of them)");

char *lemona_machine;
module_param_named(machine, lemona_machine, charp, 0444);
MODULE_PARM_DESC(machine, "the name by which the servers know this machine");

static char *socket = "noise";
module_param(socket, charp, 0444);
MODULE_PARM_DESC(socket, "what goes to the servers: noise (encrypted; the default) or plain");
bool lemona_encrypted;

unsigned int lemona_priority = TC_PRIO_CONTROL;
module_param_named(priority, lemona_priority, uint, 0444);
MODULE_PARM_DESC(priority, "SO_PRIORITY of what goes to the servers (default: 7, above all other traffic)");

unsigned int lemona_mark;
module_param_named(mark, lemona_mark, uint, 0444);
MODULE_PARM_DESC(mark, "SO_MARK of what goes to the servers (default: 0, none)");

static bool selftest;
module_param(selftest, bool, 0444);
MODULE_PARM_DESC(selftest, "test the cryptography first, and do not start if it fails (default: no)");

static const struct lemona_ops ops = {
	.on_syscall_enter = lemona_on_syscall_enter,
	.on_syscall_exit = lemona_on_syscall_exit,
	.on_user_preempt = lemona_on_user_preempt,
	.on_settle = lemona_on_settle,
	.on_fork = lemona_on_fork,
	.on_exec = lemona_on_exec,
	.on_exit = lemona_on_exit,
	.on_cred = lemona_on_cred,
	.on_uring_submit = lemona_on_uring_submit,
	.on_uring_issue = lemona_on_uring_issue,
	.on_uring_complete = lemona_on_uring_complete,
	.on_throttle = lemona_on_throttle,
	.on_write = lemona_on_write,
	.on_write_failed = lemona_on_write_failed,
	.on_resample = lemona_on_resample,
	.on_mkwrite = lemona_on_mkwrite,
	.on_page_stored = lemona_on_page_stored,
	.on_pages_stored = lemona_on_pages_stored,
	.on_isize_extended = lemona_on_isize_extended,
	.on_zeroed = lemona_on_zeroed,
	.on_flush_inode = lemona_on_flush_inode,
	.on_fallocate = lemona_on_fallocate,
	.on_write_error = lemona_on_write_error,
	.on_raw_write = lemona_on_raw_write,
	.on_fs_error = lemona_on_fs_error,
	.on_registers = lemona_on_registers,
	.on_dentry = lemona_on_dentry,
	.on_rename = lemona_on_rename,
	.on_whiteout = lemona_on_whiteout,
	.on_evict = lemona_on_evict,
	.on_setattr = lemona_on_setattr,
	.on_half_done = lemona_on_half_done,
	.on_xattr = lemona_on_xattr,
	.on_unrecorded = lemona_on_unrecorded,
	.on_mount = lemona_on_mount,
	.on_remount = lemona_on_remount,
	.on_umount = lemona_on_umount,
	.on_sched_switch = lemona_on_sched_switch,
};

/* Serialises lemona_start() */
static DEFINE_MUTEX(start_lock);
static bool started;

/**
 * lemona_start - begin to record
 *
 * Return: 0, also if it has begun before; or an error.
 */
int lemona_start(void)
{
	int error = 0;

	mutex_lock(&start_lock);
	if (!started) {
		lemona_effect_start();
		/* before that no filesystem has been registered */
		if (system_state >= SYSTEM_RUNNING)
			lemona_effect_mounts();
		error = lemona_taint_init() ?: lemona_register(&ops);
		if (!error)
			lemona_forensic_start();
		else
			lemona_taint_exit();
		WRITE_ONCE(started, !error);
	}
	mutex_unlock(&start_lock);
	return error;
}

/** lemona_has_started - has it begun to record? */
bool lemona_has_started(void)
{
	return READ_ONCE(started);
}

/* Who is to have the records */
static int __init lemona_sinks_init(void)
{
	int error;

	lemona_encrypted = !strcmp(socket, "noise");
	if (!lemona_encrypted && strcmp(socket, "plain")) {
		pr_err("lemona: socket=%s: neither noise nor plain\n", socket);
		return -EINVAL;
	}
	if (!lemona_relay && !lemona_server_list) {
		pr_err("lemona: relay=0 without server=: nobody would have the records\n");
		return -EINVAL;
	}
	if (selftest) {
		error = lemona_selftest();
		if (error)
			return error;
	}
	return (lemona_relay ? lemona_relay_init() : 0) ?:
	       lemona_servers_init();
}

static int __init lemona_setup(void)
{
	int error;

	error = lemona_buffers_init();
	if (error)
		return error;
	error = lemona_sinks_init();
	if (error)
		goto out_buffers;
	error = lemona_capture_init();
	if (error)
		goto out_servers;
	error = lemona_mapped_init();
	if (error)
		goto out_capture;
	error = lemona_ticker_start();
	if (error)
		goto out_mapped;
	if (start) {
		error = lemona_start();
		if (error)
			goto out_ticker;
	}
	return 0;

out_ticker:
	lemona_ticker_stop();
out_mapped:
	lemona_mapped_exit();
out_capture:
	lemona_capture_exit();
out_servers:
	lemona_servers_exit();
out_buffers:
	lemona_buffers_exit();
	return error;
}

#ifdef MODULE

static void lemona_teardown(void)
{
	lemona_pool_stop();
	if (started) {
		lemona_taint_exit();
		lemona_unregister();
	}
	lemona_effects_exit();
	lemona_mapped_exit();
	lemona_ticker_stop();
	lemona_capture_exit();
	/* nobody can read any more */
	lemona_relay_exit();
	lemona_servers_stop();
	lemona_buffers_exit();
	lemona_servers_exit();
}

static int __init lemona_module_init(void)
{
	int error = lemona_setup();

	if (error)
		return error;
	error = lemona_servers_start() ?: lemona_device_init();
	if (error)
		lemona_teardown();
	return error;
}

static void __exit lemona_module_exit(void)
{
	lemona_device_exit();
	lemona_teardown();
}

module_init(lemona_module_init);
module_exit(lemona_module_exit);

#else

/*
 * Built in, recording starts before there is a second CPU or a process. That is
 * also before another CPU could run code whose static branches and calls are
 * being patched: QEMU's multi-threaded TCG (seen with 7.2) may keep a translation
 * of the breakpoint that stands there meanwhile.
 */
static bool is_set_up __initdata;

static int __init lemona_early_init(void)
{
	int error = lemona_setup();

	is_set_up = !error;
	return error;
}

static int __init lemona_late_init(void)
{
	int error;

	/* of what was not set up nothing is left */
	if (!is_set_up)
		return -ENODEV;
	error = lemona_servers_start();
	return lemona_device_init() ?: error;
}

early_initcall(lemona_early_init);
device_initcall(lemona_late_init);

#endif

MODULE_DESCRIPTION("Lemona: record system calls and filesystem effects");
MODULE_LICENSE("Dual MIT/GPL");

// SPDX-License-Identifier: MIT
/*
 * lemona-init: PID 1 of a recorded guest. Runs from the initramfs, in locked
 * memory: it needs nothing of the traced disk once that is mounted, so it can
 * end the recording in order even if the disk has been destroyed.
 *
 *   start the forwarder (the kernel may be recording already)
 *   mount the traced disk, make it the root
 *   hello to the host; then serve frames (ctl.h) until S
 *   kill everything, mark `end`, drain, Z, power off
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../../module/lemona_abi.h"
#include "child.h"
#include "cmdline.h"
#include "ctl.h"
#include "driver.h"
#include "forward.h"
#include "port.h"
#include "root.h"
#include "say.h"

#define PORT_WAIT_MS 30000
#define TERM_WAIT_MS 2000
#define KILL_WAIT_MS 10000
/*
 * A host on a slow disk may still be taking what is under way; one that is gone
 * ends QEMU. lemona.goodbye_s= sets another limit.
 */
#define GOODBYE_WAIT_S 600
#define FLUSH_WAIT_MS 10000

#define ROOTFLAGS "rw,relatime"

enum phase { SERVING, TERMINATING, KILLING, ENDING };

static enum phase phase = SERVING;
static uint64_t phase_end_ms;
static bool blocked;	    /* the frame at the front is stdin its child does not take */
static uint32_t blocked_id;
static size_t blocked_at;
static bool goodbye;

static _Noreturn void power_off(void)
{
	reboot(RB_POWER_OFF);
	/* Without ACPI the call comes back: the host sees Z and ends the machine itself. */
	say("the power cannot be switched off: %s", strerror(errno));
	for (;;)
		pause();
}

static _Noreturn void give_up(const char *what)
{
	say("%s: %s", what, strerror(errno));
	power_off();
}

static int open_ctl(void)
{
	uint64_t end = now_ms() + PORT_WAIT_MS;
	int fd;

	for (;;) {
		fd = port_open(PORT_CTL, O_RDWR | O_NONBLOCK);
		if (fd >= 0 || now_ms() >= end)
			return fd;
		sleep_ms(10);
	}
}

static void hello(const char *flags, bool mounted)
{
	struct utsname uts;
	char text[512];
	int len;

	uname(&uts);
	len = snprintf(text, sizeof(text), "kernel=%s\nlemona=%s\nmodule=%s\nforwarder=%s\nkey=%s\nroot=%s\nrootflags=%s\n",
		       uts.release, driver_present() ? "yes" : "no", driver_has_module() ? "yes" : "no",
		       forward_running() ? "yes" : "no", driver_has_key() ? "yes" : "no", mounted ? "/dev/vda" : "none", flags);
	ctl_send('H', text, len);
}

static void checkpoint(void)
{
	char error[384];

	/*
	 * The forwarder comes last: while recording is enabled nothing else makes
	 * calls, so that all are either before the record or in it.
	 */
	if (driver_load(error, sizeof(error)) || driver_give_key(error, sizeof(error)) ||
	    driver_mark("start", LEMONA_FREEZE_F_ENABLE, error, sizeof(error)) ||
	    (driver_has_relay() && !forward_running() && driver_attach(error, sizeof(error))))
		ctl_problem("checkpoint: %s", error);
}

static uint32_t word(const struct ctl_frame *f, size_t at)
{
	uint32_t value;

	memcpy(&value, f->data + at, sizeof(value));
	return value;
}

/* Least payload of each frame; what is not here is unknown. */
static int least_payload(uint8_t type)
{
	switch (type) {
	case 'R':
		return 5;
	case 'I':
		return 4;
	case 'K':
		return 8;
	case 'C':
	case 'S':
	case 'Z':
		return 0;
	default:
		return -1;
	}
}

static bool feed_stdin(const struct ctl_frame *f)
{
	const uint8_t *data = f->data + 4 + blocked_at;
	size_t len = f->len - 4 - blocked_at;
	size_t taken = child_stdin(word(f, 0), data, len);

	blocked = taken < len;
	blocked_id = word(f, 0);
	blocked_at = blocked ? blocked_at + taken : 0;
	return !blocked;
}

static void begin_shutdown(void)
{
	if (phase != SERVING)
		return;
	phase = TERMINATING;
	phase_end_ms = now_ms() + TERM_WAIT_MS;
	/* Never reaches PID 1, and so not the forwarder. */
	kill(-1, SIGTERM);
	/* A stopped process would only act on it once it goes on. */
	kill(-1, SIGCONT);
}

/* Returns false if the frame has to wait. */
static bool serve(const struct ctl_frame *f)
{
	int least = least_payload(f->type);

	if (least < 0 || f->len < (size_t)least) {
		ctl_problem("a frame of type 0x%02x with %zu bytes makes no sense: ignored", f->type, f->len);
		return true;
	}
	switch (f->type) {
	case 'R':
		if (phase == SERVING)
			child_run(word(f, 0), f->data[4] & 1, (const char *)f->data + 5, f->len - 5);
		break;
	case 'I':
		return feed_stdin(f);
	case 'K':
		child_kill(word(f, 0), word(f, 4));
		break;
	case 'C':
		checkpoint();
		break;
	case 'S':
		begin_shutdown();
		break;
	case 'Z':
		goodbye = true;
		break;
	}
	return true;
}

static void serve_all(void)
{
	struct ctl_frame frame;

	while (ctl_peek(&frame) && serve(&frame))
		ctl_consume();
}

static void step_shutdown(bool alive)
{
	if (phase == SERVING)
		return;
	if (!alive) {
		phase = ENDING;
	} else if (now_ms() >= phase_end_ms && phase == TERMINATING) {
		phase = KILLING;
		phase_end_ms = now_ms() + KILL_WAIT_MS;
		kill(-1, SIGKILL);
	} else if (now_ms() >= phase_end_ms) {
		ctl_problem("shutdown: processes are left %d s after SIGKILL", KILL_WAIT_MS / 1000);
		phase = ENDING;
	}
}

/* One turn: wait for anything, then move what can be moved. */
static void turn(int signals)
{
	struct pollfd set[2 + CHILD_POLLFDS];
	struct signalfd_siginfo info;
	bool hung_up;
	int count;

	set[0] = (struct pollfd){ .fd = signals, .events = POLLIN };
	set[1] = (struct pollfd){ .fd = ctl_fd() };
	if (!blocked)
		set[1].events |= POLLIN;
	if (ctl_pending())
		set[1].events |= POLLOUT;
	count = 2 + child_poll_set(set + 2, blocked ? &blocked_id : NULL);
	poll(set, count, phase == SERVING ? -1 : 50);

	while (read(signals, &info, sizeof(info)) > 0)
		;
	/* Hang-up cannot be masked: with no host there is nothing to do but wait for one. */
	hung_up = (set[1].revents & POLLHUP) && !(set[1].revents & POLLIN);
	if (set[1].revents & POLLIN)
		ctl_fill();
	/* Before serving: stdin that waits for a child which is gone by now waits for nobody. */
	child_reap();
	serve_all();
	step_shutdown(child_reap());
	child_pump();
	ctl_flush();
	if (hung_up)
		sleep_ms(20);
}

/* Waits for the host's Z, so that no byte is still on its way when power goes. */
static void say_goodbye(void)
{
	uint64_t wait_s = cmdline_number("goodbye_s", GOODBYE_WAIT_S);
	uint64_t end = now_ms() + wait_s * 1000, bytes = forward_end(end);

	ctl_send('Z', &bytes, sizeof(bytes));
	ctl_flush_all(FLUSH_WAIT_MS);
	while (!goodbye && now_ms() < end) {
		struct pollfd pfd = { .fd = ctl_fd(), .events = POLLIN };

		poll(&pfd, 1, 50);
		if (pfd.revents & POLLIN)
			ctl_fill();
		else if (pfd.revents & POLLHUP)
			sleep_ms(20);
		serve_all();
	}
	if (goodbye)
		return;
	ctl_problem("the host did not say within %llu s that it has the whole record: powering off without it",
		    (unsigned long long)wait_s);
	ctl_flush();
}

static _Noreturn void end(bool mounted)
{
	char error[384];

	child_pump();
	ctl_flush_all(FLUSH_WAIT_MS);
	sync();
	if (mounted && driver_mark("end", 0, error, sizeof(error)))
		ctl_problem("mark end: %s", error);
	if (driver_drain(error, sizeof(error)))
		ctl_problem("%s", error);
	say_goodbye();
	power_off();
}

static int block_signals(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	sigaction(SIGPIPE, &ignore, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int main(void)
{
	char error[384], attach_error[384] = "";
	const char *flags;
	bool mounted;
	int signals, fd;

	/* The kernel starts it as /init. */
	program_invocation_short_name = "lemona-init";
	if (getpid() != 1) {
		say("this is the init program of a recorded guest: it runs as process 1 only");
		return 2;
	}
	umask(022);
	if (root_mount_early())
		give_up("mounting proc, sys and dev failed");
	cmdline_read();
	/* Before any thread: one that does not block SIGCHLD would swallow it. */
	signals = block_signals();
	if (signals < 0)
		give_up("signalfd failed");
	driver_keep();
	/* As early as can be: a static build has been recording since its first process. */
	if (driver_present() && ((driver_has_relay() && driver_attach(attach_error, sizeof(attach_error))) ||
				 driver_give_key(attach_error, sizeof(attach_error))))
		say("%s", attach_error);
	/* Out of memory is no reason to die: the kernel never kills PID 1 for it. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		say("locking memory failed: %s", strerror(errno));
	child_init();

	fd = open_ctl();
	if (fd < 0)
		give_up("the host offers no port lemona.ctl");
	ctl_init(fd);
	flags = cmdline_get("rootflags");
	if (!flags)
		flags = ROOTFLAGS;
	mounted = root_enter(flags, error, sizeof(error)) == 0;
	root_network();
	hello(flags, mounted);
	if (!mounted)
		ctl_problem("%s", error);
	if (attach_error[0])
		ctl_problem("%s", attach_error);

	while (phase != ENDING)
		turn(signals);
	end(mounted);
}

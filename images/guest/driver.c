// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../module/lemona_abi.h"
#include "cmdline.h"
#include "driver.h"
#include "forward.h"
#include "mark.h"
#include "port.h"
#include "say.h"

#define PORT_WAIT_MS 30000
#define DEVICE_WAIT_MS 5000

static int initramfs = -1; /* its root directory */
static int module = -1;	   /* lemona.ko */
static int control = -1;   /* /dev/lemona, for ioctls */
static bool key_given;

void driver_keep(void)
{
	initramfs = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	module = open("/lemona.ko", O_RDONLY | O_CLOEXEC);
	control = open("/dev/lemona", O_RDWR | O_CLOEXEC);
}

bool driver_present(void)
{
	return control >= 0;
}

bool driver_has_module(void)
{
	return module >= 0;
}

/* Opens a device by number, through a node of our own in the initramfs. */
static int open_device(dev_t dev, int flags)
{
	char name[32];

	snprintf(name, sizeof(name), "node-%llx", (unsigned long long)dev);
	if (mknodat(initramfs, name, S_IFCHR | 0600, dev) && errno != EEXIST)
		return -1;
	return openat(initramfs, name, flags | O_CLOEXEC);
}

static int open_port_by_number(const char *name, int flags)
{
	uint64_t end = now_ms() + PORT_WAIT_MS;
	dev_t dev;

	while (port_find(name, &dev, NULL, 0)) {
		if (now_ms() >= end)
			return -1;
		sleep_ms(10);
	}
	return open_device(dev, flags);
}

static int open_mark_port(void *arg)
{
	(void)arg;
	return open_port_by_number(PORT_MARK, O_RDWR);
}

bool driver_has_relay(void)
{
	const char *relay = cmdline_get("relay");

	return !relay || !strchr("0nN", *relay);
}

bool driver_has_key(void)
{
	return key_given || !cmdline_get("server");
}

static _Noreturn void run_lemona_key(int program, int port)
{
	static char *const args[] = { "lemona-key", "--file", "-", NULL };
	static char *const env[] = { NULL };

	if (dup2(port, STDIN_FILENO) == STDIN_FILENO)
		fexecve(program, args, env);
	say("cannot run lemona-key: %s", strerror(errno));
	_exit(127);
}

int driver_give_key(char *error, size_t len)
{
	int program, port, status = -1;
	pid_t child;

	if (!cmdline_get("server"))
		return 0;
	program = openat(initramfs, "lemona-key", O_RDONLY | O_CLOEXEC);
	port = open_port_by_number(PORT_KEY, O_RDONLY);
	if (program < 0 || port < 0) {
		snprintf(error, len, "there are servers, but no %s", program < 0 ? "lemona-key" : "port lemona.key");
	} else {
		child = fork();
		if (child == 0)
			run_lemona_key(program, port);
		while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (status)
			snprintf(error, len, "lemona-key did not give the driver its key");
	}
	if (program >= 0)
		close(program);
	if (port >= 0)
		close(port);
	key_given = status == 0;
	return status ? -1 : 0;
}

int driver_attach(char *error, size_t len)
{
	struct stat st;
	int reader, port;

	if (fstat(control, &st)) {
		snprintf(error, len, "/dev/lemona: %s", strerror(errno));
		return -1;
	}
	port = open_port_by_number(PORT_TRACE, O_WRONLY);
	if (port < 0) {
		snprintf(error, len, "cannot open the port lemona.trace: %s", strerror(errno));
		return -1;
	}
	reader = open_device(st.st_rdev, O_RDWR);
	if (reader < 0) {
		snprintf(error, len, "cannot open /dev/lemona: %s", strerror(errno));
		close(port);
		return -1;
	}
	if (forward_start(reader, port)) {
		snprintf(error, len, "cannot start the forwarder: %s", strerror(errno));
		close(reader);
		close(port);
		return -1;
	}
	return 0;
}

static int wait_for_device(void)
{
	uint64_t end = now_ms() + DEVICE_WAIT_MS;

	for (;;) {
		control = open("/dev/lemona", O_RDWR | O_CLOEXEC);
		if (control >= 0)
			return 0;
		if (errno != ENOENT || now_ms() >= end)
			return -1;
		sleep_ms(5);
	}
}

int driver_load(char *error, size_t len)
{
	char params[1024];

	if (control < 0) {
		if (module < 0) {
			snprintf(error, len, "this kernel has no /dev/lemona and the initramfs no /lemona.ko");
			return -1;
		}
		cmdline_module_params(params, sizeof(params));
		if (syscall(SYS_finit_module, module, params, 0)) {
			snprintf(error, len, "loading lemona.ko with '%s' failed: %s", params, strerror(errno));
			return -1;
		}
		if (wait_for_device()) {
			snprintf(error, len, "lemona.ko is loaded but /dev/lemona cannot be opened: %s",
				 strerror(errno));
			return -1;
		}
	}
	return 0;
}

int driver_mark(const char *label, unsigned int flags, char *error, size_t len)
{
	struct mark m = { .label = label, .flags = flags, .driver = control };
	int ret = -1;

	m.root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m.root < 0) {
		snprintf(error, len, "cannot open /: %s", strerror(errno));
		return -1;
	}
	m.port = mark_open_port(&m, open_mark_port, NULL);
	if (m.port >= 0) {
		ret = mark_take(&m);
		close(m.port);
	}
	close(m.root);
	if (ret)
		snprintf(error, len, "%s", m.error);
	return ret;
}

int driver_drain(char *error, size_t len)
{
	if (control < 0 || (driver_has_relay() && !forward_running()))
		return 0;
	/* What we do from here on would be recorded after the record is delivered, and so be lost. */
	if (ioctl(control, LEMONA_IOC_EXEMPT) || ioctl(control, LEMONA_IOC_CLOSE)) {
		snprintf(error, len, "draining the record failed: %s", strerror(errno));
		return -1;
	}
	return 0;
}

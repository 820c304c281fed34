// SPDX-License-Identifier: MIT
/*
 * lemona-key [--file FILE]: gives the recording driver the machine's key, with
 * which it shows its logging servers who it is. FILE (-: standard input), or
 * whoever sits at the terminal, says a passphrase, which scrypt makes the key
 * of, or the key itself, as 64 hexadecimal digits.
 *
 * The secret is in no argument and no environment. From before it is read on,
 * this process is recorded no more, dumps no core, can be traced by nobody but
 * root, and is not swapped out.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "../../module/lemona_abi.h"
#include "../../module/lemona_wire.h"
#include "say.h"

#define EXIT_USAGE 2
#define MACHINE_FILE "/sys/module/lemona/parameters/machine"
#define SECRET_MAX 1024
/* scrypt takes 128 * N * r bytes; OpenSSL counts a little more. */
#define KDF_MEMORY (2ul * 128 * LEMONA_WIRE_KDF_COST * LEMONA_WIRE_KDF_BLOCK)

static char secret[SECRET_MAX] __attribute__((aligned(4096)));
static struct lemona_key key __attribute__((aligned(4096)));

/* Nothing of this process is to be seen from outside. */
static int hide(int driver)
{
	const struct rlimit none = { 0, 0 };

	if (ioctl(driver, LEMONA_IOC_EXEMPT) || prctl(PR_SET_DUMPABLE, 0) || setrlimit(RLIMIT_CORE, &none) ||
	    mlock(secret, sizeof(secret)) || mlock(&key, sizeof(key))) {
		say("cannot keep the secret to myself: %s", strerror(errno));
		return -1;
	}
	return 0;
}

/* One line, without its end. */
static int read_secret(int fd)
{
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(secret) - 1) {
		n = read(fd, secret + len, sizeof(secret) - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			say("cannot read the passphrase: %s", strerror(errno));
			return -1;
		}
		if (n == 0)
			break;
		len += n;
		if (memchr(secret, '\n', len))
			break;
	}
	secret[strcspn(secret, "\n")] = '\0';
	if (!secret[0]) {
		say("the passphrase is empty");
		return -1;
	}
	return 0;
}

static int read_file(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	int ret = -1;

	if (fd < 0 || fstat(fd, &st))
		say("cannot open %s: %s", file, strerror(errno));
	else if (S_ISREG(st.st_mode) && (st.st_mode & 077))
		say("%s can be read by others (mode %o): chmod 600 %s", file, st.st_mode & 0777, file);
	else
		ret = read_secret(fd);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int ask(const char *machine)
{
	struct termios shown, hidden;
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	int ret;

	if (fd < 0 || tcgetattr(fd, &shown)) {
		say("there is no terminal to ask at: give the passphrase with --file");
		return -1;
	}
	hidden = shown;
	hidden.c_lflag &= ~(ECHO | ECHOE | ECHOK | ECHONL);
	tcsetattr(fd, TCSAFLUSH, &hidden);
	dprintf(fd, "Passphrase of the machine %s: ", machine);
	ret = read_secret(fd);
	tcsetattr(fd, TCSAFLUSH, &shown);
	dprintf(fd, "\n");
	close(fd);
	return ret;
}

/* The secret is the key itself. */
static bool is_key(void)
{
	if (strlen(secret) != 2 * sizeof(key.key) || secret[strspn(secret, "0123456789abcdefABCDEF")])
		return false;
	for (size_t i = 0; i < sizeof(key.key); i++)
		sscanf(secret + 2 * i, "%2hhx", &key.key[i]);
	return true;
}

static int make_key(const char *machine)
{
	char salt[sizeof(LEMONA_WIRE_KDF_SALT) + 64];
	int len = snprintf(salt, sizeof(salt), "%s%s", LEMONA_WIRE_KDF_SALT, machine);

	if (is_key())
		return 0;
	if (!EVP_PBE_scrypt(secret, strlen(secret), (unsigned char *)salt, len, LEMONA_WIRE_KDF_COST,
			    LEMONA_WIRE_KDF_BLOCK, LEMONA_WIRE_KDF_PARALLEL, KDF_MEMORY, key.key,
			    sizeof(key.key))) {
		say("scrypt failed: it needs 32 MiB of memory");
		return -1;
	}
	return 0;
}

static int read_machine(char *machine, size_t len)
{
	FILE *file = fopen(MACHINE_FILE, "re");
	bool ok = file && fgets(machine, len, file);

	if (file)
		fclose(file);
	if (ok)
		machine[strcspn(machine, "\n")] = '\0';
	if (!ok || strcmp(machine, "(null)") == 0) {
		say("the driver has no servers: it wants lemona.server= and lemona.machine=");
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *file = NULL;
	char machine[65];
	int driver, ret;

	if (argc == 3 && strcmp(argv[1], "--file") == 0)
		file = argv[2];
	else if (argc != 1) {
		fprintf(stderr, "usage: lemona-key [--file FILE]\n");
		return EXIT_USAGE;
	}
	driver = open("/dev/lemona", O_RDWR | O_CLOEXEC);
	if (driver < 0) {
		say("cannot open /dev/lemona: %s", strerror(errno));
		return 1;
	}
	if (read_machine(machine, sizeof(machine)) || hide(driver))
		return 1;
	if (!file)
		ret = ask(machine);
	else if (strcmp(file, "-") == 0)
		ret = read_secret(STDIN_FILENO);
	else
		ret = read_file(file);
	ret = ret || make_key(machine);
	explicit_bzero(secret, sizeof(secret));
	if (!ret && ioctl(driver, LEMONA_IOC_KEY, &key)) {
		say(errno == EBUSY ? "a server has accepted the driver's key already" : "the driver takes no key: %s",
		    strerror(errno));
		ret = 1;
	}
	explicit_bzero(&key, sizeof(key));
	return ret ? 1 : 0;
}

// SPDX-License-Identifier: MIT
// Commands of block devices, sockets and terminals. Sizes are those of the
// kernel's headers; where compat has its own, they stand beside them.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/blktrace_api.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/if_vlan.h>
#include <linux/loop.h>
#include <linux/serial.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "entry.h"

#define IA32_IOCTL 54
#define X32_IOCTL 514

/* <sys/ioctl.h> has another struct termios */
#define WINSIZE 8
#define TERMIO 18

/* Of <linux/un.h>, which <sys/un.h> contradicts */
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)

/* Of compat */
#define IFREQ sizeof(struct ifreq), 32
#define IFCONF sizeof(struct ifconf), 8
#define RTENTRY sizeof(struct rtentry), 84
#define BRIDGE (3 * sizeof(long)), 12
#define GEOMETRY sizeof(struct hd_geometry), 8
#define LONG sizeof(long), 4
#define LOOP_INFO sizeof(struct loop_info), 140
#define BLKPG_ARG sizeof(struct blkpg_ioctl_arg), 16
#define SERIAL sizeof(struct serial_struct), 60
/* x32 has the times of 64 bits */
#define OLD_TIME 16, entry == ENTRY_X32 ? 16 : 8

/* The numbers that compat gives these, whose types are longs */
#define BLKBSZGET_32 _IOR(0x12, 112, int)
#define BLKBSZSET_32 _IOW(0x12, 113, int)
#define BLKGETSIZE64_32 _IOR(0x12, 114, int)

static long ioctl_nr(void)
{
	return entry == ENTRY_64 ? SYS_ioctl : entry == ENTRY_IA32 ? IA32_IOCTL : X32_IOCTL;
}

/* Memory of a command: its content before, NULL for zeros that are read, for a pattern that is written */
static void *control2(int fd, uint32_t command, const char *direction, const void *content, size_t wide, size_t narrow)
{
	static const uint8_t zeros[512];
	size_t size = entry == ENTRY_64 ? wide : narrow;
	void *at = put(content ? content : direction[0] == 'i' ? zeros : NULL, size);

	CALL(ioctl_nr(), fd, command, watch(2, direction, at, size));
	return at;
}

#define PAIR(wide, narrow, ...) wide, narrow
#define TWICE(...) PAIR(__VA_ARGS__, __VA_ARGS__)
#define OUT(fd, command, ...) control2(fd, command, "out", NULL, TWICE(__VA_ARGS__))
#define IN(fd, command, content, ...) control2(fd, command, "in", content, TWICE(__VA_ARGS__))
#define IO(fd, command, content, ...) control2(fd, command, "io", content, TWICE(__VA_ARGS__))

static long value(int fd, uint32_t command, uint64_t arg)
{
	return CALL(ioctl_nr(), fd, command, arg);
}

static int zero, one = 1;

static void asked_of_any_disk(int fd)
{
	OUT(fd, HDIO_GETGEO, GEOMETRY);
	OUT(fd, BLKROGET, sizeof(int));
	OUT(fd, BLKGETSIZE, LONG);
	OUT(fd, BLKRAGET, LONG);
	OUT(fd, BLKFRAGET, LONG);
	OUT(fd, BLKSECTGET, sizeof(short));
	OUT(fd, BLKSSZGET, sizeof(int));
	OUT(fd, BLKIOMIN, sizeof(int));
	OUT(fd, BLKIOOPT, sizeof(int));
	OUT(fd, BLKALIGNOFF, sizeof(int));
	OUT(fd, BLKPBSZGET, sizeof(int));
	OUT(fd, BLKDISCARDZEROES, sizeof(int));
	OUT(fd, BLKROTATIONAL, sizeof(short));
	OUT(fd, BLKBSZGET, sizeof(int));
	OUT(fd, BLKBSZGET_32, sizeof(int));
	OUT(fd, BLKGETSIZE64, sizeof(uint64_t));
	OUT(fd, BLKGETSIZE64_32, sizeof(uint64_t));
	OUT(fd, BLKGETDISKSEQ, sizeof(uint64_t));
	OUT(fd, BLKGETZONESZ, sizeof(int));
	OUT(fd, BLKGETNRZONES, sizeof(int));
	IO(fd, BLKREPORTZONE, NULL, sizeof(struct blk_zone_report));
}

static void set_on_a_disk(int fd)
{
	const uint64_t range[2] = { 4096, 8192 };
	const uint64_t sectors[2] = { 8, 8 };
	const int block = 1024;

	IN(fd, BLKROSET, &one, sizeof(int));
	IN(fd, BLKROSET, &zero, sizeof(int));
	value(fd, BLKRASET, 64);
	value(fd, BLKFRASET, 32);
	IN(fd, BLKBSZSET, &block, sizeof(int));
	IN(fd, BLKBSZSET_32, &block, sizeof(int));
	value(fd, BLKFLSBUF, 0);
	value(fd, BLKRRPART, 0);
	/* operation 3 does not exist */
	IN(fd, BLKPG, ((const uint32_t[]){ 3, 5, 0, 0, 0, 0 }), BLKPG_ARG);
	IN(fd, BLKDISCARD, range, sizeof(range));
	IN(fd, BLKSECDISCARD, range, sizeof(range));
	IN(fd, BLKZEROOUT, range, sizeof(range));
	IN(fd, BLKRESETZONE, sectors, sizeof(struct blk_zone_range));
	IN(fd, BLKOPENZONE, sectors, sizeof(struct blk_zone_range));
	IN(fd, BLKCLOSEZONE, sectors, sizeof(struct blk_zone_range));
	IN(fd, BLKFINISHZONE, sectors, sizeof(struct blk_zone_range));
	IO(fd, BLKTRACESETUP, NULL, sizeof(struct blk_user_trace_setup));
	value(fd, BLKTRACESTART, 0);
	value(fd, BLKTRACESTOP, 0);
	value(fd, BLKTRACETEARDOWN, 0);
}

static int backing_file(void)
{
	int fd = open("backing", O_RDWR | O_CREAT, 0600);

	if (fd < 0 || ftruncate(fd, 1 << 20))
		exit(10);
	return fd;
}

static void loop_devices(void)
{
	struct loop_info64 info64 = { .lo_sizelimit = 1 << 19, .lo_file_name = "a name of its own" };
	struct loop_config config = { .block_size = 512, .info = { .lo_flags = LO_FLAGS_AUTOCLEAR } };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file = backing_file(), fd;
	char name[32];
	void *info;

	value(control, LOOP_CTL_ADD, 77);
	value(control, LOOP_CTL_REMOVE, 77);
	snprintf(name, sizeof(name), "/dev/loop%ld", value(control, LOOP_CTL_GET_FREE, 0));
	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		exit(11);
	OUT(fd, LOOP_GET_STATUS64, sizeof(struct loop_info64)); /* ENXIO */
	value(fd, LOOP_SET_FD, file);
	OUT(fd, LOOP_GET_STATUS64, sizeof(struct loop_info64));
	IN(fd, LOOP_SET_STATUS64, &info64, sizeof(info64));
	OUT(fd, LOOP_GET_STATUS64, sizeof(struct loop_info64));
	info = OUT(fd, LOOP_GET_STATUS, LOOP_INFO);
	IN(fd, LOOP_SET_STATUS, info, LOOP_INFO);
	value(fd, LOOP_SET_CAPACITY, 0);
	value(fd, LOOP_SET_DIRECT_IO, 0);
	value(fd, LOOP_SET_BLOCK_SIZE, 1024);
	value(fd, LOOP_CHANGE_FD, file);
	asked_of_any_disk(fd);
	set_on_a_disk(fd);
	value(fd, LOOP_CLR_FD, 0);
	close(fd);

	fd = open(name, O_RDWR | O_CLOEXEC);
	config.fd = file;
	IN(fd, LOOP_CONFIGURE, &config, sizeof(config));
	OUT(fd, LOOP_GET_STATUS64, sizeof(struct loop_info64));
	value(fd, LOOP_CLR_FD, 0);
	close(fd);
	close(file);
	close(control);
}

static void block_devices(void)
{
	int fd = open("/dev/vda", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		exit(12);
	asked_of_any_disk(fd);
	close(fd);
	loop_devices();
}

/* Of lo unless told otherwise */
static struct ifreq *named(const char *name)
{
	static struct ifreq request;

	memset(&request, 0, sizeof(request));
	strcpy(request.ifr_name, name);
	return &request;
}

static struct ifreq *with_address(const char *address)
{
	struct ifreq *request = named("lo");
	struct sockaddr_in *in = (struct sockaddr_in *)&request->ifr_addr;

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = inet_addr(address);
	return request;
}

static struct ifreq *with_number(const char *name, int number)
{
	struct ifreq *request = named(name);

	request->ifr_ifindex = number;
	return request;
}

static void asked_of_interface(int s, const char *name)
{
	static const uint32_t commands[] = {
		SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMETRIC,
		SIOCGIFMEM, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFSLAVE, SIOCGIFINDEX, SIOCGIFPFLAGS,
		SIOCGIFTXQLEN, SIOCGIFMAP, SIOCGMIIPHY, SIOCGMIIREG, SIOCETHTOOL, SIOCWANDEV, SIOCGHWTSTAMP,
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		IO(s, commands[i], named(name), IFREQ);
}

static void interfaces(int s)
{
	struct ifreq *list = put(NULL, 8 * sizeof(struct ifreq));
	struct arpreq arp = { .arp_dev = "lo" };
	struct rtentry route = { .rt_flags = RTF_UP };
	struct ifconf room = { .ifc_len = 8 * sizeof(struct ifreq) };
	struct vlan_ioctl_args vlan = { .cmd = GET_VLAN_REALDEV_NAME_CMD, .device1 = "lo" };
	struct ifreq *flags;

	asked_of_interface(s, "lo");
	asked_of_interface(s, "eth0");
	asked_of_interface(s, "nowhere0");
	IO(s, SIOCGIFNAME, with_number("", 1), IFREQ);
	IO(s, SIOCGIFNAME, with_number("", 4711), IFREQ);
	room.ifc_req = list;
	if (entry == ENTRY_64)
		IO(s, SIOCGIFCONF, &room, IFCONF);
	else
		IO(s, SIOCGIFCONF, ((const uint32_t[]){ room.ifc_len, LOW(list) }), IFCONF);
	/* how much room it takes */
	IO(s, SIOCGIFCONF, NULL, IFCONF);

	flags = IO(s, SIOCGIFFLAGS, named("lo"), IFREQ);
	IN(s, SIOCSIFFLAGS, flags, IFREQ);
	IN(s, SIOCSIFADDR, with_address("127.0.0.1"), IFREQ);
	IN(s, SIOCSIFNETMASK, with_address("255.0.0.0"), IFREQ);
	IN(s, SIOCSIFBRDADDR, with_address("127.255.255.255"), IFREQ);
	IN(s, SIOCSIFDSTADDR, with_address("127.0.0.1"), IFREQ);
	IN(s, SIOCSIFMETRIC, with_number("lo", 0), IFREQ);
	IN(s, SIOCSIFMEM, with_number("lo", 3), IFREQ);
	IN(s, SIOCSIFMTU, with_number("lo", 16384), IFREQ);
	IN(s, SIOCSIFTXQLEN, with_number("lo", 500), IFREQ);
	IN(s, SIOCSIFPFLAGS, with_number("lo", 5), IFREQ);
	IN(s, SIOCSIFHWADDR, with_address("1.2.3.4"), IFREQ);
	IN(s, SIOCSIFHWBROADCAST, with_address("1.2.3.4"), IFREQ);
	IN(s, SIOCADDMULTI, with_number("lo", 7), IFREQ);
	IN(s, SIOCDELMULTI, with_number("lo", 7), IFREQ);
	IN(s, SIOCDIFADDR, with_address("127.0.0.9"), IFREQ);
	IN(s, SIOCSIFSLAVE, with_number("lo", 1), IFREQ);
	IN(s, SIOCSIFMAP, named("nowhere0"), IFREQ);
	IN(s, SIOCSIFNAME, with_number("nowhere0", 0x61), IFREQ);
	IN(s, SIOCSMIIREG, named("lo"), IFREQ);
	IO(s, SIOCSIFLINK, named("lo"), IFREQ);
	IO(s, SIOCSHWTSTAMP, named("lo"), IFREQ);
	IN(s, SIOCBRADDBR, "bridge0\0\0\0\0\0\0\0\0", IFNAMSIZ);
	IN(s, SIOCBRDELBR, "bridge0\0\0\0\0\0\0\0\0", IFNAMSIZ);
	IN(s, SIOCBRADDIF, with_number("lo", 1), IFREQ);
	IN(s, SIOCBRDELIF, with_number("lo", 1), IFREQ);
	IO(s, SIOCGIFBR, NULL, BRIDGE);
	IO(s, SIOCSIFBR, NULL, BRIDGE);
	IO(s, SIOCGIFVLAN, &vlan, sizeof(vlan));
	IO(s, SIOCSIFVLAN, &vlan, sizeof(vlan));
	IN(s, SIOCADDRT, &route, RTENTRY);
	IN(s, SIOCDELRT, &route, RTENTRY);
	((struct sockaddr_in *)&arp.arp_pa)->sin_family = AF_INET;
	((struct sockaddr_in *)&arp.arp_pa)->sin_addr.s_addr = inet_addr("10.0.2.2");
	IN(s, SIOCSARP, &arp, sizeof(arp));
	IO(s, SIOCGARP, &arp, sizeof(arp));
	IN(s, SIOCDARP, &arp, sizeof(arp));
}

static void any_socket(int s)
{
	int self = getpid();

	OUT(s, FIONREAD, sizeof(int));
	OUT(s, SIOCOUTQ, sizeof(int));
	OUT(s, SIOCOUTQNSD, sizeof(int));
	OUT(s, SIOCATMARK, sizeof(int));
	IN(s, FIOSETOWN, &self, sizeof(int));
	OUT(s, FIOGETOWN, sizeof(int));
	IN(s, SIOCSPGRP, &self, sizeof(int));
	OUT(s, SIOCGPGRP, sizeof(int));
	IN(s, FIONBIO, &one, sizeof(int));
	IN(s, FIOASYNC, &zero, sizeof(int));
	value(s, FIOCLEX, 0);
	value(s, FIONCLEX, 0);
	OUT(s, SIOCGSTAMP_OLD, OLD_TIME);
	OUT(s, SIOCGSTAMPNS_OLD, OLD_TIME);
	OUT(s, SIOCGSTAMP_NEW, 16);
	OUT(s, SIOCGSTAMPNS_NEW, 16);
	close(value(s, SIOCGSKNS, 0));
	close(value(s, SIOCUNIXFILE, 0));
}

static void datagrams(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(here);
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	char bytes[8];

	if (s < 0 || bind(s, (struct sockaddr *)&here, len) || getsockname(s, (struct sockaddr *)&here, &len))
		exit(20);
	any_socket(s);	/* no stamp yet */
	if (sendto(s, "stamped", 7, 0, (struct sockaddr *)&here, len) != 7)
		exit(21);
	OUT(s, FIONREAD, sizeof(int));
	if (recv(s, bytes, sizeof(bytes), 0) != 7)
		exit(22);
	if (sendto(s, "waits", 5, 0, (struct sockaddr *)&here, len) != 5)
		exit(23);
	any_socket(s);
	interfaces(s);
	close(s);
}

static void streams(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(here);
	int listener = socket(AF_INET, SOCK_STREAM, 0), s = socket(AF_INET, SOCK_STREAM, 0), t;

	if (bind(listener, (struct sockaddr *)&here, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&here, &len) || connect(s, (struct sockaddr *)&here, len))
		exit(24);
	t = accept(listener, NULL, NULL);
	if (send(t, "some", 4, 0) != 4 || send(t, "!", 1, MSG_OOB) != 1)
		exit(25);
	any_socket(s);
	close(s);
	close(t);
	close(listener);
}

static void local(void)
{
	struct sockaddr_un {
		sa_family_t family;
		char path[14];
	} here = { AF_UNIX, "here" };
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (bind(s, (struct sockaddr *)&here, sizeof(here)))
		exit(26);
	any_socket(s);
	close(s);
}

static void any_terminal(int fd)
{
	OUT(fd, TCGETS, sizeof(struct termios));
	OUT(fd, TCGETS2, sizeof(struct termios2));
	OUT(fd, TCGETA, TERMIO);
	OUT(fd, TIOCGWINSZ, WINSIZE);
	OUT(fd, TIOCGPGRP, sizeof(int));
	OUT(fd, TIOCGSID, sizeof(int));
	OUT(fd, TIOCGETD, sizeof(int));
	OUT(fd, TIOCGDEV, sizeof(int));
	OUT(fd, TIOCGEXCL, sizeof(int));
	OUT(fd, TIOCOUTQ, sizeof(int));
	OUT(fd, FIONREAD, sizeof(int));
	OUT(fd, TIOCMGET, sizeof(int));
	OUT(fd, TIOCGSOFTCAR, sizeof(int));
	OUT(fd, TIOCGLCKTRMIOS, sizeof(struct termios));
	OUT(fd, TIOCGSERIAL, SERIAL);
	OUT(fd, TIOCGRS485, sizeof(struct serial_rs485));
	OUT(fd, TIOCGICOUNT, sizeof(struct serial_icounter_struct));
}

static void set_on_a_terminal(int fd)
{
	static const uint32_t sets[] = { TCSETS, TCSETSW, TCSETSF }, sets2[] = { TCSETS2, TCSETSW2, TCSETSF2 };
	static const uint32_t old_sets[] = { TCSETA, TCSETAW, TCSETAF };
	static const uint32_t lines[] = { TIOCMBIS, TIOCMBIC, TIOCMSET, TIOCSSOFTCAR, TIOCSETD };
	const uint16_t size[4] = { 25, 81, 2, 3 };
	void *modes = OUT(fd, TCGETS, sizeof(struct termios));
	void *modes2 = OUT(fd, TCGETS2, sizeof(struct termios2));
	void *old_modes = OUT(fd, TCGETA, TERMIO);

	for (int i = 0; i < 3; i++) {
		IN(fd, sets[i], modes, sizeof(struct termios));
		IN(fd, sets2[i], modes2, sizeof(struct termios2));
		IN(fd, old_sets[i], old_modes, TERMIO);
	}
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		IN(fd, lines[i], &zero, sizeof(int));
	IN(fd, TIOCSWINSZ, size, WINSIZE);
	IN(fd, TIOCSTI, "t", 1);
	IO(fd, TIOCLINUX, NULL, 1);
	IN(fd, TIOCSLCKTRMIOS, NULL, sizeof(struct termios));
	IN(fd, TIOCSSERIAL, NULL, SERIAL);
	IO(fd, TIOCSRS485, NULL, sizeof(struct serial_rs485));
	value(fd, TIOCEXCL, 0);
	OUT(fd, TIOCGEXCL, sizeof(int));
	value(fd, TIOCNXCL, 0);
	value(fd, TCXONC, TCOON);
	value(fd, TCFLSH, TCIOFLUSH);
	value(fd, TCSBRK, 1);
	value(fd, TCSBRKP, 1);
	value(fd, TIOCSBRK, 0);
	value(fd, TIOCCBRK, 0);
	value(fd, TIOCMIWAIT, 0);
}

static void terminals(void)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), slave, serial, group;

	signal(SIGHUP, SIG_IGN);
	setsid();
	if (master < 0)
		exit(30);
	OUT(master, TIOCGPTN, sizeof(int));
	OUT(master, TIOCGPTLCK, sizeof(int));
	IN(master, TIOCSPTLCK, &zero, sizeof(int));
	OUT(master, TIOCGPTLCK, sizeof(int));
	slave = value(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	if (slave < 0)
		exit(31);
	IN(master, TIOCPKT, &one, sizeof(int));
	OUT(master, TIOCGPKT, sizeof(int));
	any_terminal(master);
	if (write(master, "typed\n", 6) != 6)
		exit(32);
	any_terminal(slave);
	value(slave, TIOCSCTTY, 0);
	group = getpgrp();
	IN(slave, TIOCSPGRP, &group, sizeof(int));
	any_terminal(slave);
	set_on_a_terminal(slave);
	any_terminal(slave);
	value(master, TIOCSIG, SIGCONT);
	value(slave, TIOCNOTTY, 0);
	value(slave, TIOCVHANGUP, 0);
	close(slave);
	close(master);

	/* The console's line, of which some of these can be told, and which is left as it is */
	serial = open("/dev/ttyS0", O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (serial < 0)
		exit(33);
	any_terminal(serial);
	close(serial);
}

void ioctls(void)
{
	block_devices();
	datagrams();
	streams();
	local();
	terminals();
}

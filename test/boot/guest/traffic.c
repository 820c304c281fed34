// SPDX-License-Identifier: MIT
/*
 * Keeps the network's queue full, until it is killed: SENDERS sockets wait for
 * room for one more datagram each. Its own calls are not recorded: their
 * records would be more traffic.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lemona_abi.h"

/* A socket has some 90 datagrams under way, the queue takes 1000. */
#define SENDERS 16
#define DATAGRAM_BYTES 1400

static void send_for_ever(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	static char bytes[DATAGRAM_BYTES];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	/* Of the host, which takes it for nothing. */
	inet_pton(AF_INET, "10.0.2.2", &to.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "socket");
	for (;;)
		(void)!send(fd, bytes, sizeof(bytes), 0);
}

int main(void)
{
	int driver = open("/dev/lemona", O_RDWR);

	if (driver < 0 || ioctl(driver, LEMONA_IOC_EXEMPT))
		err(1, "/dev/lemona");
	for (int i = 0; i < SENDERS; i++) {
		pid_t child = fork();

		if (child < 0)
			err(1, "fork");
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			send_for_ever();
		}
	}
	puts("sending");
	fflush(stdout);
	pause();
}
